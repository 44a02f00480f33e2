package cluster

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// edge is an edge of the service graph.
type edge struct{ client, server string }

// edges sums traces_service_graph_request_total of one agent.
func edges(b *harness.Bramble) (map[edge]float64, error) {
	r := b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody)
	if r.Status != http.StatusOK {
		return nil, fmt.Errorf("status %d: %.200s", r.Status, r.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(r.Body)))
	if err != nil {
		return nil, err
	}
	out := map[edge]float64{}
	for _, m := range families["traces_service_graph_request_total"].GetMetric() {
		e := edge{label(m, "client"), label(m, "server")}
		out[e] += m.GetCounter().GetValue()
	}
	return out, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// nobody is the virtual node of calls without a server's side.
const nobody = "nobody"

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// call is the n-th call of one service by another, as each side reports it: two resources, to be sent apart. Without a
// server only the caller's side.
func call(n int, client, server string) (sides []*tracepb.ResourceSpans) {
	id := make([]byte, 16)
	binary.BigEndian.PutUint64(id, uint64(time.Now().UnixNano()))
	binary.BigEndian.PutUint64(id[8:], uint64(n+1))
	now := uint64(time.Now().UnixNano())
	span := func(service string, kind tracepb.Span_SpanKind, own, parent byte) {
		s := &tracepb.Span{TraceId: id, SpanId: []byte{own, 0, 0, 0, 0, 0, 0, 1}, Name: "call", Kind: kind, StartTimeUnixNano: now, EndTimeUnixNano: now + 1e6}
		if kind == tracepb.Span_SPAN_KIND_CLIENT { // What it is called if nobody tells of the other side.
			s.Attributes = []*commonpb.KeyValue{text("peer.service", nobody)}
		}
		if parent != 0 {
			s.ParentSpanId = []byte{parent, 0, 0, 0, 0, 0, 0, 1}
		}
		sides = append(sides, &tracepb.ResourceSpans{
			Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", service)}},
			ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{s}}},
		})
	}
	span(client, tracepb.Span_SPAN_KIND_CLIENT, 1, 0)
	if server != "" {
		span(server, tracepb.Span_SPAN_KIND_SERVER, 2, 1)
	}
	return sides
}

// TestServiceGraphOnOwners sends both sides of each call to different agents of the shipped configuration. One agent, the
// owner, has the edge; the sum over agents is how many calls there were; no side is left over as a virtual node.
func TestServiceGraphOnOwners(t *testing.T) {
	const wait = "15s" // In which the other side comes, also on a slow machine.
	c := harness.StartCluster(t, 3, harness.Config{Files: []string{"config/cluster.yaml"}, Overlay: harness.Set(
		"service::telemetry::metrics::level", "none",
		"connectors::trace_metrics::metrics_flush_interval", "1s",
		"connectors::trace_metrics::service_graphs::wait", wait,
	)})
	var clients []coltracepb.TraceServiceClient
	for _, a := range c.Agents {
		clients = append(clients, coltracepb.NewTraceServiceClient(harness.Dial(t, a.GRPC())))
	}
	send := func(agent int, rs *tracepb.ResourceSpans) {
		t.Helper()
		_, err := clients[agent%len(clients)].Export(t.Context(), &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{rs}})
		require.NoError(t, err)
	}
	const single, calls = 9, 120
	want := map[edge]float64{}
	for n := range single + calls {
		e := edge{client: fmt.Sprintf("front-%d", n), server: "back"} // An edge of its own, to see where it is.
		if n >= single {
			e = edge{client: "shop", server: "stock"}
		}
		want[e]++
		sides := call(n, e.client, e.server)
		order := n / 3 % 2 // Which side comes first.
		send(n+order, sides[order])
		send(n+1-order, sides[1-order])
	}
	for agent := range clients { // Sides that have waited in vain say that all others have too, at every owner.
		for k := range 20 {
			send(agent, call(1000+20*agent+k, "alone", "")[0])
		}
	}
	perAgent := make([]map[edge]float64, len(c.Agents))
	harness.Poll(t, 2*time.Minute, "the edges and the lonely sides at all agents", func() error {
		sum := map[edge]float64{}
		lonely := edge{client: "alone", server: nobody}
		for i, a := range c.Agents {
			var err error
			if perAgent[i], err = edges(a); err != nil {
				return err
			}
			if perAgent[i][lonely] == 0 {
				return fmt.Errorf("at %d no side has waited in vain: %v", i, perAgent)
			}
			for e, n := range perAgent[i] {
				if e != lonely {
					sum[e] += n
				}
			}
		}
		for e, n := range want {
			if sum[e] != n {
				return fmt.Errorf("%v: %v of %v calls; all of them: %v", e, sum[e], n, perAgent)
			}
		}
		require.Len(t, sum, len(want), "there are edges that nobody called: %v", sum)
		return nil
	})
	owners := map[int]bool{}
	for n := range single {
		e, at := edge{client: fmt.Sprintf("front-%d", n), server: "back"}, []int{}
		for i := range perAgent {
			if perAgent[i][e] > 0 {
				at = append(at, i)
			}
		}
		require.Len(t, at, 1, "agents with the edge %v", e)
		owners[at[0]] = true
	}
	t.Logf("%d calls were counted once each; the edges of %d calls are at %d agents", single+calls, single, len(owners))
}
