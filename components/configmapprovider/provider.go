package configmapprovider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

const (
	schemeName = "k8sconfigmap"
	// apiTimeout is how long the API server may take to give the object before the mounted file is read instead.
	apiTimeout = 5 * time.Second
)

// NewFactory returns the factory of a provider that uses the guard of the process, if there is one. The client is that of
// the pod's service account, or KUBECONFIG's.
func NewFactory() confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		return newConfigMaps(set, kubeClient, nil, liveconfig.Of(&procstate.Default))
	})
}

// NewRecordingFactory returns the factory of a provider that reads objects and tells what it has read, by their URIs.
func NewRecordingFactory(read func(key string, content []byte)) confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		return newConfigMaps(set, kubeClient, read, nil)
	})
}

func kubeClient() (kubernetes.Interface, error) {
	conf, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" {
		conf, err = clientcmd.BuildConfigFromFlags("", os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the Kubernetes API (set KUBECONFIG outside of a cluster): %w", err)
	}
	return kubernetes.NewForConfig(conf)
}

type configMaps struct {
	log    *zap.Logger
	client func() (kubernetes.Interface, error)
	read   func(key string, content []byte)
	guard  *liveconfig.Guard

	mu      sync.Mutex
	sources map[string]*configMap // by URI
	stop    chan struct{}
	running sync.WaitGroup
}

func newConfigMaps(set confmap.ProviderSettings, client func() (kubernetes.Interface, error), read func(string, []byte), g *liveconfig.Guard) *configMaps {
	log := set.Logger
	if log == nil {
		log = zap.NewNop()
	}
	return &configMaps{log: log, client: client, read: read, guard: g, sources: map[string]*configMap{}, stop: make(chan struct{})}
}

func (*configMaps) Scheme() string { return schemeName }

// Retrieve returns the key's content as YAML.
func (p *configMaps) Retrieve(ctx context.Context, uri string, watcher confmap.WatcherFunc) (*confmap.Retrieved, error) {
	s, err := p.source(uri)
	if err != nil {
		return nil, err
	}
	var b []byte
	if p.guard != nil && watcher != nil {
		s.watch(p)
		b, err = p.guard.Read(ctx, s, func() { watcher(&confmap.ChangeEvent{}) })
	} else {
		b, err = s.Read(ctx)
	}
	if err != nil {
		return nil, err
	}
	if p.read != nil {
		p.read(s.Key(), b)
	}
	return confmap.NewRetrievedFromYAML(b)
}

func (p *configMaps) source(uri string) (*configMap, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.sources[uri]; ok {
		return s, nil
	}
	s, err := parseConfigMap(uri)
	if err != nil {
		return nil, err
	}
	s.log = p.log
	if s.client, err = p.client(); err != nil {
		if s.fallback == "" {
			return nil, err
		}
		s.clientErr = err
	}
	p.sources[uri] = s
	return s, nil
}

// Shutdown ends the watches.
func (p *configMaps) Shutdown(context.Context) error {
	if p.guard != nil {
		p.guard.Detach()
	}
	p.mu.Lock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// configMap is one key of a ConfigMap as a liveconfig.Source.
type configMap struct {
	uri, namespace, name, key, fallback string

	client    kubernetes.Interface
	clientErr error
	log       *zap.Logger
	// watched is nil unless the object is watched.
	mu      sync.Mutex
	watched cache.SharedIndexInformer
	onFile  bool // the last read was of the fallback
}

func parseConfigMap(uri string) (*configMap, error) {
	rest, ok := strings.CutPrefix(uri, schemeName+":")
	path, query, _ := strings.Cut(rest, "?")
	parts := strings.Split(path, "/")
	values, err := url.ParseQuery(query)
	if !ok || len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" || err != nil {
		return nil, fmt.Errorf("%q does not name a ConfigMap's key: write %s:NAMESPACE/NAME/KEY, optionally with ?fallback=/path/to/the/mounted/file", uri, schemeName)
	}
	s := &configMap{uri: uri, namespace: parts[0], name: parts[1], key: parts[2], fallback: values.Get("fallback")}
	values.Del("fallback")
	for name := range values {
		return nil, fmt.Errorf("%q: %s is not known, fallback is", uri, name)
	}
	return s, nil
}

// Key returns the URI.
func (s *configMap) Key() string { return s.uri }

// Read returns what the watch has last seen, what the API server says, or the fallback's content.
func (s *configMap) Read(ctx context.Context) ([]byte, error) {
	b, err := s.fromAPI(ctx)
	s.mu.Lock()
	before := s.onFile
	s.onFile = err != nil && s.fallback != ""
	now := s.onFile
	s.mu.Unlock()
	if !now {
		return b, err
	}
	if !before {
		s.log.Warn("The ConfigMap cannot be read through the API server; its mounted file is read instead.", zap.String("fallback", s.fallback), zap.Error(err))
	}
	b, fileErr := liveconfig.File(s.fallback).Read(ctx)
	if fileErr != nil {
		return nil, errors.Join(err, fileErr)
	}
	return b, nil
}

func (s *configMap) fromAPI(ctx context.Context) ([]byte, error) {
	if s.clientErr != nil {
		return nil, s.clientErr
	}
	s.mu.Lock()
	watched := s.watched
	s.mu.Unlock()
	if watched != nil && watched.HasSynced() {
		obj, found, err := watched.GetStore().GetByKey(s.namespace + "/" + s.name)
		if err != nil || !found {
			return nil, errors.Join(fmt.Errorf("the ConfigMap %s/%s does not exist", s.namespace, s.name), err)
		}
		cm, _ := obj.(*corev1.ConfigMap)
		return s.content(cm)
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	cm, err := s.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the ConfigMap %s/%s: %w", s.namespace, s.name, err)
	}
	return s.content(cm)
}

func (s *configMap) content(cm *corev1.ConfigMap) ([]byte, error) {
	if v, ok := cm.Data[s.key]; ok {
		return []byte(v), nil
	}
	if v, ok := cm.BinaryData[s.key]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("the ConfigMap %s/%s has no key %q", s.namespace, s.name, s.key)
}

// watch begins to watch the object, once.
func (s *configMap) watch(p *configMaps) {
	if s.client == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched != nil {
		return
	}
	f := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithNamespace(s.namespace), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, s.name).String()
	}))
	s.watched = f.Core().V1().ConfigMaps().Informer()
	wake := func() { p.guard.Wake() }
	if _, err := s.watched.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	}); err != nil {
		p.log.Warn("The ConfigMap's edits are found at intervals only.", zap.Error(err))
	}
	p.running.Go(func() { s.watched.Run(p.stop) })
}
