package watchprovider

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, s string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(s), 0o600))
}

func TestScheme(t *testing.T) {
	p := NewFactory().Create(confmap.ProviderSettings{})
	require.NoError(t, confmaptest.ValidateProviderScheme(p))
	_, err := p.Retrieve(t.Context(), "yaml:a", nil)
	require.ErrorContains(t, err, `"yaml:a" is not supported`)
	_, err = p.Retrieve(t.Context(), "file:"+filepath.Join(t.TempDir(), "missing.yaml"), nil)
	require.ErrorContains(t, err, "missing.yaml")
	require.NoError(t, p.Shutdown(t.Context()))
}

// resolver resolves a file as the Collector does.
func resolver(t *testing.T, path string, f confmap.ProviderFactory) *confmap.Resolver {
	t.Helper()
	r, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{path}, ProviderFactories: []confmap.ProviderFactory{f}, ProviderSettings: confmap.ProviderSettings{Logger: zaptest.NewLogger(t)},
	})
	require.NoError(t, err)
	return r
}

func TestUnguardedReadsTheFileEachTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	write(t, path, "a: ${file:"+filepath.Join(dir, "part.yaml")+"}\nb: 1\n")
	write(t, filepath.Join(dir, "part.yaml"), "x: 1")
	read := map[string]string{}
	r := resolver(t, path, NewRecordingFactory(func(key string, b []byte) { read[key] = string(b) }))
	conf, err := r.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"a": map[string]any{"x": 1}, "b": 1}, conf.ToStringMap())
	assert.Len(t, read, 2)
	write(t, filepath.Join(dir, "part.yaml"), "x: 2")
	conf, err = r.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"a": map[string]any{"x": 2}, "b": 1}, conf.ToStringMap())
	require.NoError(t, r.Shutdown(t.Context()))
}

// TestGuarded follows an edit through the Collector's own resolver.
func TestGuarded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	write(t, path, "a: ${file:"+filepath.Join(dir, "part.yaml")+"}")
	write(t, filepath.Join(dir, "part.yaml"), "1")
	g := liveconfig.New(liveconfig.Options{Interval: 1e7, Settle: 1e7})
	defer g.Close()
	release, err := liveconfig.Register(&procstate.Default, g)
	require.NoError(t, err)
	defer func() { require.NoError(t, release()) }()
	r := resolver(t, path, NewFactory())
	conf, err := r.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, conf.Get("a"))
	g.Started(nil)
	write(t, filepath.Join(dir, "part.yaml"), "2")
	require.NoError(t, <-r.Watch())
	conf, err = r.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, conf.Get("a"))
	require.NoError(t, r.Shutdown(t.Context()))
}
