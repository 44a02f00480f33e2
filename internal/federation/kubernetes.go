package federation

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// EndpointSlices watches the EndpointSlices of a Service. It needs list and watch on endpointslices in
// discovery.k8s.io. Endpoints that are not ready count: their spans are wanted as soon as they can answer.
type EndpointSlices struct {
	Client             kubernetes.Interface
	Namespace, Service string
	Port               int
}

// resync is how often the informer repeats what it knows.
const resync = 10 * time.Minute

// Run implements Resolver.
func (e *EndpointSlices) Run(ctx context.Context, update func([]Endpoint), failed func(error)) {
	factory := informers.NewSharedInformerFactoryWithOptions(e.Client, resync, informers.WithNamespace(e.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = discoveryv1.LabelServiceName + "=" + e.Service
		}))
	informer := factory.Discovery().V1().EndpointSlices().Informer()
	if err := informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
		if ctx.Err() == nil {
			failed(fmt.Errorf("watch the EndpointSlices of Service %s/%s: %w", e.Namespace, e.Service, err))
		}
	}); err != nil {
		failed(err)
	}
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { note() }, UpdateFunc: func(any, any) { note() }, DeleteFunc: func(any) { note() },
	}); err != nil {
		failed(err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return
	}
	note() // Also if there are none.
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			update(endpointsOf(informer.GetStore().List(), e.Port))
		}
	}
}

// endpointsOf lists the agents of EndpointSlices, by address, each once.
func endpointsOf(slicesOfService []any, port int) []Endpoint {
	var out []Endpoint
	for _, o := range slicesOfService {
		s, ok := o.(*discoveryv1.EndpointSlice)
		if !ok || s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range s.Endpoints {
			ep := &s.Endpoints[i]
			if len(ep.Addresses) == 0 {
				continue
			}
			node := ""
			if ep.NodeName != nil {
				node = *ep.NodeName
			}
			// All addresses of an endpoint are the same pod (discovery/v1).
			out = append(out, Endpoint{Address: net.JoinHostPort(ep.Addresses[0], strconv.Itoa(port)), Node: node})
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return strings.Compare(a.Address, b.Address) })
	return slices.CompactFunc(out, func(a, b Endpoint) bool { return a.Address == b.Address })
}
