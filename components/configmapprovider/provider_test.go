package configmapprovider

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func object(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tracing", Name: "bramble"},
		Data:       map[string]string{"config.yaml": text}, BinaryData: map[string][]byte{"binary": []byte("b: 1")},
	}
}

func clientOf(objects ...*corev1.ConfigMap) func() (kubernetes.Interface, error) {
	c := fake.NewClientset()
	for _, o := range objects {
		if err := c.Tracker().Add(o); err != nil {
			panic(err)
		}
	}
	return func() (kubernetes.Interface, error) { return c, nil }
}

func TestConfigMapURIs(t *testing.T) {
	p := newConfigMaps(confmap.ProviderSettings{}, clientOf(object("a: 1")), nil, nil)
	require.NoError(t, confmaptest.ValidateProviderScheme(p))
	for _, bad := range []string{"", "k8sconfigmap:", "k8sconfigmap:tracing/bramble", "k8sconfigmap:tracing//config.yaml", "k8sconfigmap:a/b/c/d", "file:a/b/c", "k8sconfigmap:a/b/c?fallbak=/x", "k8sconfigmap:a/b/c?%zz"} {
		_, err := p.Retrieve(t.Context(), bad, nil)
		require.Error(t, err, bad)
	}
	for uri, want := range map[string]string{
		"k8sconfigmap:tracing/bramble/none.yaml":   `has no key "none.yaml"`,
		"k8sconfigmap:tracing/missing/config.yaml": "read the ConfigMap tracing/missing",
	} {
		_, err := p.Retrieve(t.Context(), uri, nil)
		require.ErrorContains(t, err, want)
	}
	r, err := p.Retrieve(t.Context(), "k8sconfigmap:tracing/bramble/binary", nil)
	require.NoError(t, err)
	conf, err := r.AsConf()
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"b": 1}, conf.ToStringMap())
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestConfigMapFallback(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mounted.yaml")
	require.NoError(t, os.WriteFile(path, []byte("a: 2"), 0o600))
	none := func() (kubernetes.Interface, error) { return nil, errors.New("no cluster") }
	for name, client := range map[string]func() (kubernetes.Interface, error){"no cluster": none, "no object": clientOf()} {
		t.Run(name, func(t *testing.T) {
			var key string
			p := newConfigMaps(confmap.ProviderSettings{}, client, func(k string, _ []byte) { key = k }, nil)
			uri := "k8sconfigmap:tracing/bramble/config.yaml?fallback=" + path
			r, err := p.Retrieve(t.Context(), uri, nil)
			require.NoError(t, err)
			conf, err := r.AsConf()
			require.NoError(t, err)
			assert.Equal(t, 2, conf.Get("a"))
			assert.Equal(t, uri, key)
			_, err = p.Retrieve(t.Context(), "k8sconfigmap:tracing/bramble/config.yaml?fallback=/does/not/exist", nil)
			require.ErrorContains(t, err, "/does/not/exist")
			_, err = p.Retrieve(t.Context(), "k8sconfigmap:tracing/bramble/config.yaml", nil)
			require.Error(t, err)
			require.NoError(t, p.Shutdown(t.Context()))
		})
	}
}

// TestConfigMapIsWatched: an edit is applied without waiting for an interval.
func TestConfigMapIsWatched(t *testing.T) {
	client := clientOf(object("a: 1"))
	g := liveconfig.New(liveconfig.Options{Interval: time.Hour, Settle: time.Millisecond})
	defer g.Close()
	p := newConfigMaps(confmap.ProviderSettings{}, client, nil, g)
	changed := make(chan struct{}, 1)
	get := func() any {
		r, err := p.Retrieve(t.Context(), "k8sconfigmap:tracing/bramble/config.yaml", func(*confmap.ChangeEvent) { changed <- struct{}{} })
		require.NoError(t, err)
		conf, err := r.AsConf()
		require.NoError(t, err)
		return conf.Get("a")
	}
	require.Equal(t, 1, get())
	g.Started(nil)
	require.Eventually(t, p.sources["k8sconfigmap:tracing/bramble/config.yaml"].watched.HasSynced, time.Minute, time.Millisecond)
	c, err := client()
	require.NoError(t, err)
	edited := time.Now()
	_, err = c.CoreV1().ConfigMaps("tracing").Update(t.Context(), object("a: 2"), metav1.UpdateOptions{})
	require.NoError(t, err)
	<-changed
	t.Logf("from the edit to the reload: %s", time.Since(edited).Round(time.Millisecond))
	require.Equal(t, 2, get())
	require.NoError(t, p.Shutdown(t.Context()))
}
