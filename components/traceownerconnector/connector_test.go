package traceownerconnector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/components/traceownerconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/federation"
)

// peers is a trace_query extension as far as it matters here.
type peers struct {
	component.StartFunc
	component.ShutdownFunc
	configured bool
	mu         sync.Mutex
	members    []federation.Member
}

func (p *peers) Members() ([]federation.Member, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]federation.Member(nil), p.members...), p.configured
}

type host struct{ peers *peers }

func (h *host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("trace_query"): h.peers}
}

// otherAgent takes spans over OTLP.
type otherAgent struct {
	ptraceotlp.UnimplementedGRPCServer
	sink consumertest.TracesSink
	fail atomic.Pointer[error]
}

func (a *otherAgent) Export(ctx context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	if err := a.fail.Load(); err != nil {
		return ptraceotlp.NewExportResponse(), *err
	}
	return ptraceotlp.NewExportResponse(), a.sink.ConsumeTraces(ctx, r.Traces())
}

// listen serves an agent at 127.0.0.N and returns the port, which the first one chooses.
func listen(t *testing.T, n, port int) (*otherAgent, int) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.%d:%d", n, port))
	require.NoError(t, err)
	a := &otherAgent{}
	s := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(s, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // It ends by Stop.
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	_, text, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	port, err = strconv.Atoi(text)
	require.NoError(t, err)
	return a, port
}

func member(n int) federation.Member {
	return federation.Member{Node: fmt.Sprintf("node-%d", n), Address: fmt.Sprintf("127.0.0.%d:3201", n), Up: true, Self: n == 1}
}

func start(t *testing.T, p *peers, port int, next consumer.Traces) *ownerConnector {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Port, cfg.Client.TLS.Insecure = port, true
	c, err := newOwnerConnector(connectortest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context(), &host{p}))
	t.Cleanup(func() { require.NoError(t, c.Shutdown(context.WithoutCancel(t.Context()))) })
	return c
}

// traces makes a batch in which traces and resources are mixed; every span has a name of its own.
func traces(from, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	for r := range 3 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutInt("resource", int64(r))
		rs.SetSchemaUrl("r" + strconv.Itoa(r))
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("scope" + strconv.Itoa(r))
		for i := range n {
			s := ss.Spans().AppendEmpty()
			s.SetTraceID(pcommon.TraceID{14: byte((from + i) >> 8), 15: byte(from + i)})
			s.SetName(fmt.Sprintf("%d/%d", r, from+i))
		}
	}
	return td
}

// names collects the spans of all batches, with their resource, and which traces there are.
func names(t *testing.T, sinks ...*consumertest.TracesSink) (spans map[string]int, ids map[pcommon.TraceID]bool) {
	t.Helper()
	spans, ids = map[string]int{}, map[pcommon.TraceID]bool{}
	for _, s := range sinks {
		for _, td := range s.AllTraces() {
			eachSpan(td, func(i, j int, s ptrace.Span) {
				rs := td.ResourceSpans().At(i)
				r, _ := rs.Resource().Attributes().Get("resource")
				require.Equal(t, fmt.Sprintf("r%d", r.Int()), rs.SchemaUrl())
				require.Equal(t, fmt.Sprintf("scope%d", r.Int()), rs.ScopeSpans().At(j).Scope().Name())
				require.Equal(t, strconv.FormatInt(r.Int(), 10), s.Name()[:1])
				spans[s.Name()]++
				ids[s.TraceID()] = true
			})
		}
	}
	return spans, ids
}

// TestEveryTraceHasOneOwner and every span arrives once; each owner has about a third of the traces.
func TestEveryTraceHasOneOwner(t *testing.T) {
	b, port := listen(t, 2, 0)
	c, _ := listen(t, 3, port)
	own := &consumertest.TracesSink{}
	conn := start(t, &peers{configured: true, members: []federation.Member{member(1), member(2), member(3)}}, port, own)
	for i := range 10 {
		require.NoError(t, conn.ConsumeTraces(t.Context(), traces(i*60, 60)))
	}
	require.NoError(t, conn.ConsumeTraces(t.Context(), ptrace.NewTraces()))
	all, _ := names(t, own, &b.sink, &c.sink)
	require.Len(t, all, 1800)
	for name, n := range all {
		require.Equal(t, 1, n, name)
	}
	seen := map[pcommon.TraceID]bool{}
	for _, s := range []*consumertest.TracesSink{own, &b.sink, &c.sink} {
		_, ids := names(t, s)
		require.InDelta(t, 200, len(ids), 60)
		for id := range ids {
			require.False(t, seen[id], "a trace has two owners")
			seen[id] = true
		}
	}
}

// TestOnlyTheShareOfALostOwnerStays: what other owners have taken is not stored again.
func TestOnlyTheShareOfALostOwnerStays(t *testing.T) {
	b, port := listen(t, 2, 0)
	c, _ := listen(t, 3, port)
	own := &consumertest.TracesSink{}
	p := &peers{configured: true, members: []federation.Member{member(1), member(2), member(3), member(4)}} // Nobody listens at 4.
	conn := start(t, p, port, own)
	refused := errors.New("full")
	c.fail.Store(&refused)
	require.NoError(t, conn.ConsumeTraces(t.Context(), traces(0, 200)))
	all, _ := names(t, own, &b.sink)
	require.Len(t, all, 600)
	for name, n := range all {
		require.Equal(t, 1, n, name)
	}
	require.NotEmpty(t, b.sink.AllTraces())
	require.Empty(t, c.sink.AllTraces())

	// Who is known to be down owns nothing; when he is back, he does.
	p.mu.Lock()
	p.members[2].Up = false
	p.mu.Unlock()
	c.fail.Store(nil)
	require.NoError(t, conn.ConsumeTraces(t.Context(), traces(0, 200)))
	require.Empty(t, c.sink.AllTraces())
	p.mu.Lock()
	p.members[2].Up = true
	p.mu.Unlock()
	require.NoError(t, conn.ConsumeTraces(t.Context(), traces(0, 200)))
	require.NotEmpty(t, c.sink.AllTraces())
}

// TestHangingOwner costs the timeout, and its spans stay.
func TestHangingOwner(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.2:0") // The kernel accepts, nobody answers.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	own := &consumertest.TracesSink{}
	conn := start(t, &peers{configured: true, members: []federation.Member{member(1), member(2)}}, l.Addr().(*net.TCPAddr).Port, own)
	conn.cfg.Timeout = 200 * time.Millisecond
	require.NoError(t, conn.ConsumeTraces(t.Context(), traces(0, 50)))
	all, _ := names(t, own)
	require.Len(t, all, 150)
	// A client whose time is up hears so, and sends again.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, conn.ConsumeTraces(ctx, traces(0, 50)), context.DeadlineExceeded)
}

// TestErrorsReachTheClient: what cannot be stored anywhere is not acknowledged.
func TestErrorsReachTheClient(t *testing.T) {
	full := errors.New("store is full")
	conn := start(t, &peers{configured: true, members: []federation.Member{member(1), member(4)}}, 9, consumertest.NewErr(full))
	require.ErrorIs(t, conn.ConsumeTraces(t.Context(), traces(0, 50)), full)
	require.False(t, conn.Capabilities().MutatesData)
}

// TestWithoutMembers everything stays, also while this agent does not know itself yet.
func TestWithoutMembers(t *testing.T) {
	own := &consumertest.TracesSink{}
	conn := start(t, &peers{configured: true}, 9, own)
	require.NoError(t, conn.ConsumeTraces(t.Context(), traces(0, 50)))
	all, _ := names(t, own)
	require.Len(t, all, 150)
	c, err := newOwnerConnector(connectortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), own)
	require.NoError(t, err)
	require.ErrorContains(t, c.Start(t.Context(), &host{&peers{}}), "has no section peers")
	require.ErrorContains(t, c.Start(t.Context(), componenttest.NewNopHost()), "extension not found")
	require.NoError(t, c.Shutdown(t.Context()))
}

// TestOnlyItsShareMovesWhenANodeGoes: no trace changes its owner but those of the node that went.
func TestOnlyItsShareMovesWhenANodeGoes(t *testing.T) {
	all := []federation.Member{member(1), member(2), member(3), member(4), member(5)}
	before, after := newRing(all), newRing(all[:4])
	moved := 0
	for i := range 5000 {
		id := pcommon.TraceID{3: byte(i), 9: byte(i >> 8), 15: 1}
		b, a := before.owner(id), after.owner(id)
		if b == 4 {
			moved++
			continue
		}
		require.Equal(t, b, a)
	}
	require.InDelta(t, 1000, moved, 200)
	again := member(2)
	again.Address = "127.0.0.9:3201"
	require.Len(t, newRing(append(all, again)).members, 5, "a node counts once")
}

func TestConfig(t *testing.T) {
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	load := func(name string) *Config {
		sub, err := cm.Sub(name)
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, sub.Unmarshal(cfg))
		return cfg
	}
	require.Equal(t, createDefaultConfig(), load("trace_owner"))
	require.NoError(t, load("trace_owner").Validate())
	all := load("trace_owner/all")
	require.NoError(t, all.Validate())
	require.Equal(t, "trace_query/cluster", all.Peers.String())
	require.Equal(t, time.Second, all.Timeout)
	require.Error(t, confmap.NewFromStringMap(map[string]any{"prot": 1}).Unmarshal(createDefaultConfig()))
	bad := &Config{Port: 70000}
	bad.Client.Endpoint = "x:1"
	for _, field := range []string{"peers:", "port:", "timeout:", "client::endpoint:"} {
		require.ErrorContains(t, bad.Validate(), field)
	}
}
