package cluster

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// load sends traces to all agents. Each half of a trace goes to another agent; a client whose agent does not take it
// sends it to the next one, as clients of a Service do.
type load struct {
	acks   harness.Acks
	failed atomic.Int64    // Attempts.
	avoid  [3]atomic.Int64 // Until when an agent that failed is not tried first, Unix nanoseconds.
	stop   context.CancelFunc
	work   sync.WaitGroup
}

const (
	loadWorkers = 6
	loadSpans   = 10 // Of a trace.
	loadPause   = 10 * time.Millisecond
)

func startLoad(t *testing.T, c *harness.Cluster) *load {
	t.Helper()
	var agents []coltracepb.TraceServiceClient
	for _, a := range c.Agents {
		agents = append(agents, coltracepb.NewTraceServiceClient(harness.Dial(t, a.GRPC())))
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for w := range loadWorkers {
		l.work.Go(func() {
			for n := w; ctx.Err() == nil; n++ {
				halves := newTrace(n)
				for i, h := range halves {
					l.send(ctx, agents, n+i, h)
				}
				select {
				case <-ctx.Done():
				case <-time.After(loadPause):
				}
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

// end stops the load and waits for it.
func (l *load) end() {
	l.stop()
	l.work.Wait()
}

func (l *load) send(ctx context.Context, agents []coltracepb.TraceServiceClient, first int, rs *tracepb.ResourceSpans) {
	for i := first; ctx.Err() == nil; i++ {
		if avoid := &l.avoid[i%len(agents)]; time.Now().UnixNano() < avoid.Load() && i < first+len(agents) {
			continue
		}
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := agents[i%len(agents)].Export(call, &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{rs}})
		cancel()
		if err == nil {
			l.acks.AddAll([]*tracepb.ResourceSpans{rs})
			return
		}
		l.failed.Add(1)
		l.avoid[i%len(agents)].Store(time.Now().Add(2 * time.Second).UnixNano())
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// newTrace returns a trace in two halves.
func newTrace(n int) []*tracepb.ResourceSpans {
	id := make([]byte, 16)
	_, _ = crand.Read(id) // Never fails (Go 1.24).
	now := uint64(time.Now().UnixNano())
	var out []*tracepb.ResourceSpans
	for half := range 2 {
		var spans []*tracepb.Span
		for k := range loadSpans / 2 {
			i := half*loadSpans/2 + k
			s := &tracepb.Span{
				TraceId: id, SpanId: []byte{1, id[0], id[1], id[2], id[3], id[4], id[5], byte(i)}, Name: fmt.Sprintf("step %d", i), Kind: 1,
				StartTimeUnixNano: now + uint64(i)*1000, EndTimeUnixNano: now + 1e6,
			}
			if i > 0 {
				s.ParentSpanId = []byte{1, id[0], id[1], id[2], id[3], id[4], id[5], 0}
			}
			spans = append(spans, s)
		}
		out = append(out, &tracepb.ResourceSpans{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
				{Key: "service.name", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: fmt.Sprintf("service-%d", (n+half)%7)}}},
			}},
			ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
		})
	}
	return out
}

// waitFor waits for more acknowledged spans.
func (l *load) waitFor(t *testing.T, more int) {
	t.Helper()
	before := l.acks.Spans()
	harness.Poll(t, 2*time.Minute, "acknowledged spans", func() error {
		if n := l.acks.Spans() - before; n < more {
			return fmt.Errorf("%d of %d more spans were acknowledged", n, more)
		}
		return nil
	})
}
