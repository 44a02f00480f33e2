package tailsamplingprocessor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/processors/tailsamplingprocessor/internal/metadata"
)

// storeHost is a host with a real store as its extension trace_store.
type storeHost struct {
	extensions map[component.ID]component.Component
}

func (h *storeHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

// dbExtension is a store that the test closes.
type dbExtension struct {
	*tracedb.DB
	component.StartFunc
	component.ShutdownFunc
}

func newHost(t *testing.T) *storeHost {
	t.Helper()
	db, err := tracedb.Open(t.Context(), tracedb.Options{Dir: "data", FS: fsx.NewMem()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	return &storeHost{map[component.ID]component.Component{component.MustNewID("trace_store"): &dbExtension{DB: db}}}
}

func storeConfig() *Config {
	cfg := createDefaultConfig().(*Config)
	id := component.MustNewID("trace_store")
	cfg.Store = &id
	cfg.Policies = []sampling.Policy{{Name: "all", Type: sampling.AlwaysSample}}
	return cfg
}

func create(t *testing.T, cfg *Config, next consumer.Traces) processor.Traces {
	t.Helper()
	p, err := NewFactory().CreateTraces(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(t, err)
	return p
}

// TestPassesStraightThrough: within the call, the same data, with the next one's answer.
func TestPassesStraightThrough(t *testing.T) {
	sink := new(consumertest.TracesSink)
	p := create(t, storeConfig(), sink)
	require.NoError(t, p.Start(t.Context(), newHost(t)))
	require.False(t, p.Capabilities().MutatesData)
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("x")
	td.MarkReadOnly()
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	require.Equal(t, 1, sink.SpanCount())
	require.NoError(t, p.Shutdown(t.Context()))

	refusal := errors.New("full")
	p = create(t, storeConfig(), consumertest.NewErr(refusal))
	require.NoError(t, p.Start(t.Context(), newHost(t)))
	require.ErrorIs(t, p.ConsumeTraces(t.Context(), td), refusal)
	require.NoError(t, p.Shutdown(t.Context()))
}

// TestOneProcessorPerStore: a second one is refused until the first has gone.
func TestOneProcessorPerStore(t *testing.T) {
	host := newHost(t)
	first, second := create(t, storeConfig(), consumertest.NewNop()), create(t, storeConfig(), consumertest.NewNop())
	require.NoError(t, first.Start(t.Context(), host))
	require.ErrorContains(t, second.Start(t.Context(), host), "one tail_sampling processor per store")
	require.NoError(t, first.Shutdown(t.Context()))
	third := create(t, storeConfig(), consumertest.NewNop())
	require.NoError(t, third.Start(t.Context(), host))
	require.NoError(t, third.Shutdown(t.Context()))
}

func TestNoStore(t *testing.T) {
	p := create(t, storeConfig(), consumertest.NewNop())
	require.ErrorContains(t, p.Start(t.Context(), &storeHost{}), `extension "trace_store"`)
}

// TestPoliciesFile: new content is used, bad content is refused and the old policies stay.
func TestPoliciesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	write := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	cfg := storeConfig()
	cfg.Policies, cfg.PoliciesFile = nil, path
	p := create(t, cfg, consumertest.NewNop()).(*storeProcessor)
	require.ErrorContains(t, p.Start(t.Context(), newHost(t)), "no such file")

	write("[{name: one, type: always_sample}]")
	require.NoError(t, cfg.Check(t.Context()))
	p = create(t, cfg, consumertest.NewNop()).(*storeProcessor)
	require.NoError(t, p.load(t.Context()))
	require.Equal(t, []string{"one"}, p.policies.Load().Names())
	write("policies: [{name: two, type: trace_flags}]")
	p.poll(t.Context())
	require.Equal(t, []string{"two"}, p.policies.Load().Names())
	for _, bad := range []string{"", "[]", "policies: [", "[{name: x, type: ottl_condition}]"} {
		write(bad)
		require.Error(t, cfg.Check(t.Context()), bad)
		p.poll(t.Context())
		require.Equal(t, []string{"two"}, p.policies.Load().Names(), bad)
	}
	require.NoError(t, os.Remove(path))
	p.poll(t.Context())
	require.Equal(t, []string{"two"}, p.policies.Load().Names())
	write("[{name: three, type: trace_flags}]")
	p.poll(t.Context())
	require.Equal(t, []string{"three"}, p.policies.Load().Names())
	require.NoError(t, p.Shutdown(t.Context()))
}
