package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Cluster is some agents that are each other's peers, as separate processes on 127.0.0.1, 127.0.0.2 and so on.
type Cluster struct{ Agents []*Bramble }

// StartCluster starts n agents with the configuration. Their names are node-1, node-2 and so on. If the configuration has
// the receiver otlp/peer and the connector trace_owner, spans go to their owners.
func StartCluster(tb testing.TB, n int, cfg Config) *Cluster {
	tb.Helper()
	places := make([]Place, n)
	for i := range places {
		places[i] = Place{Host: fmt.Sprintf("127.0.0.%d", i+1)}
	}
	return StartClusterAt(tb, places, cfg)
}

// Place is where an agent of a cluster runs.
type Place struct {
	// Host is where its peers reach it.
	Host string
	// Wrap, if set, is the Wrap of Config that makes Host one of the agent's own addresses. The agent has all its listeners
	// there then, and on 127.0.0.1 otherwise.
	Wrap []string
}

// StartClusterAt is StartCluster with an agent at each place.
func StartClusterAt(tb testing.TB, places []Place, cfg Config) *Cluster {
	tb.Helper()
	questions, spans := FreePort(tb), FreePort(tb)
	merged := tree{}
	for _, f := range cfg.Files {
		if !strings.HasPrefix(f, "yaml:") {
			f = Root(tb, f)
		}
		merge(merged, readConfig(tb, f))
	}
	var peers []any
	for _, p := range places {
		peers = append(peers, fmt.Sprintf("%s:%d", p.Host, questions))
	}
	c := &Cluster{}
	for i, p := range places {
		one := cfg
		if p.Wrap != nil {
			one.Host, one.Wrap = p.Host, p.Wrap
		}
		one.Overlay = Set(
			"extensions::trace_query::peers::node", fmt.Sprintf("node-%d", i+1),
			"extensions::trace_query::peers::server::endpoint", peers[i],
			"extensions::trace_query::peers::client::tls::insecure", true,
			"extensions::trace_query::peers::static", peers,
		)
		if has(merged, []string{"extensions", "trace_query", "peers", "dns"}) {
			set(one.Overlay, false, "extensions", "trace_query", "peers", "dns", "enabled")
		}
		if has(merged, []string{"connectors", "trace_owner"}) {
			set(one.Overlay, fmt.Sprintf("%s:%d", p.Host, spans), "receivers", "otlp/peer", "protocols", "grpc", "endpoint")
			set(one.Overlay, spans, "connectors", "trace_owner", "port")
		}
		more := maps.Clone(cfg.Overlay)
		merge(one.Overlay, more)
		one.Data = ""
		a := Start(tb, one)
		a.Redirect("extensions::trace_query::peers::server", peers[i].(string))
		c.Agents = append(c.Agents, a)
	}
	c.WaitWhole(tb)
	return c
}

// WaitWhole waits until every agent has all others.
func (c *Cluster) WaitWhole(tb testing.TB) {
	tb.Helper()
	for i, a := range c.Agents {
		Poll(tb, startTimeout, fmt.Sprintf("all peers of node-%d", i+1), func() error {
			r, err := do(tb.Context(), http.DefaultClient, http.MethodGet, "http://"+a.QueryAddr()+"/status/peers", http.NoBody)
			if err != nil {
				return err
			}
			if strings.Count(string(r.Body), "answers\n") != len(c.Agents)-1 || !bytes.Contains(r.Body, []byte("this agent\n")) {
				return fmt.Errorf("%s", r.Body)
			}
			return nil
		})
	}
}

// Redirect makes Addr return another address for a listener.
func (b *Bramble) Redirect(path, addr string) { b.addrs[path] = addr }

// Scatter starts proxies for OTLP over gRPC and HTTP that give every span to an agent at random, and returns their
// host:port. An answer is good when all shares were taken.
func (c *Cluster) Scatter(tb testing.TB, seed uint64) (grpcAddr, httpAddr string) {
	tb.Helper()
	s := &scatterer{rng: rand.New(rand.NewPCG(seed, 1))}
	for _, a := range c.Agents {
		s.agents = append(s.agents, coltracepb.NewTraceServiceClient(Dial(tb, a.GRPC())))
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	coltracepb.RegisterTraceServiceServer(srv, s)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	web := httptest.NewServer(s)
	tb.Cleanup(func() {
		web.Close()
		srv.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			tb.Errorf("serve the scatterer: %v", err)
		}
	})
	return lis.Addr().String(), web.Listener.Addr().String()
}

// scatterer gives every span to one of some agents.
type scatterer struct {
	coltracepb.UnimplementedTraceServiceServer
	agents []coltracepb.TraceServiceClient

	mu  sync.Mutex
	rng *rand.Rand
}

// Export implements coltracepb.TraceServiceServer.
func (s *scatterer) Export(ctx context.Context, r *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	out := &coltracepb.ExportTraceServiceResponse{}
	for i, share := range s.shares(r) {
		if len(share.GetResourceSpans()) == 0 {
			continue
		}
		res, err := s.agents[i].Export(ctx, share)
		if err != nil {
			return nil, err
		}
		if res.GetPartialSuccess() != nil {
			out = res
		}
	}
	return out, nil
}

func (s *scatterer) shares(r *coltracepb.ExportTraceServiceRequest) []*coltracepb.ExportTraceServiceRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*coltracepb.ExportTraceServiceRequest, len(s.agents))
	for i := range out {
		out[i] = &coltracepb.ExportTraceServiceRequest{}
	}
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			parts := make([][]*tracepb.Span, len(s.agents))
			for _, span := range ss.GetSpans() {
				i := s.rng.IntN(len(parts))
				parts[i] = append(parts[i], span)
			}
			for i, spans := range parts {
				if len(spans) > 0 {
					out[i].ResourceSpans = append(out[i].ResourceSpans, &tracepb.ResourceSpans{
						Resource: rs.GetResource(), SchemaUrl: rs.GetSchemaUrl(),
						ScopeSpans: []*tracepb.ScopeSpans{{Scope: ss.GetScope(), SchemaUrl: ss.GetSchemaUrl(), Spans: spans}},
					})
				}
			}
		}
	}
	return out
}

// ServeHTTP takes OTLP in JSON and in protobuf.
func (s *scatterer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	m := &coltracepb.ExportTraceServiceRequest{}
	if err == nil {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			err = unmarshalOTLPJSON(body, m)
		} else {
			err = proto.Unmarshal(body, m)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := s.Export(r.Context(), m); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("{}")) // The client may be gone.
}

// unmarshalOTLPJSON decodes OTLP's JSON, whose ids are hex (OTLP 1.x, "JSON Protobuf Encoding").
func unmarshalOTLPJSON(body []byte, m *coltracepb.ExportTraceServiceRequest) error {
	td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		return err
	}
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		return err
	}
	return proto.Unmarshal(raw, m)
}
