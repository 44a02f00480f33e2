package federation

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func endpointSlice(name, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "tracing", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
	}
}

// TestEndpointSlices follows the slices of one Service.
func TestEndpointSlices(t *testing.T) {
	node, notReady := "worker-1", false
	client := fake.NewClientset(
		endpointSlice("a", "bramble-peers", discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, NodeName: &node},
			discoveryv1.Endpoint{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &notReady}}, discoveryv1.Endpoint{}),
		endpointSlice("other", "somebody-else", discoveryv1.Endpoint{Addresses: []string{"10.9.9.9"}}),
	)
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan []Endpoint, 10), make(chan struct{})
	e := &EndpointSlices{Client: client, Namespace: "tracing", Service: "bramble-peers", Port: 3201}
	go func() {
		defer close(done)
		e.Run(ctx, func(l []Endpoint) { got <- l }, func(err error) { t.Error(err) })
	}()
	want := []Endpoint{{Address: "10.0.0.1:3201", Node: "worker-1"}, {Address: "10.0.0.2:3201"}}
	require.Equal(t, want, <-got)
	_, err := client.DiscoveryV1().EndpointSlices("tracing").Create(t.Context(),
		endpointSlice("b", "bramble-peers", discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}}, discoveryv1.Endpoint{Addresses: []string{"10.0.0.3"}}), metav1.CreateOptions{})
	require.NoError(t, err)
	want = append(want, Endpoint{Address: "10.0.0.3:3201"})
	for list := <-got; len(list) != 3; list = <-got {
		require.Len(t, list, 2)
	}
	require.NoError(t, client.DiscoveryV1().EndpointSlices("tracing").Delete(t.Context(), "a", metav1.DeleteOptions{}))
	for list := <-got; ; list = <-got {
		if len(list) == 2 && list[1] == want[2] {
			break
		}
	}
	cancel()
	<-done
}
