package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// ServiceName is the service.name of the test trace.
const ServiceName = "bramble-doctor"

// pollEvery is the time between two questions for the test trace.
const pollEvery = 100 * time.Millisecond

// trace sends one trace with a span by each protocol that works, and reads it back by its id.
func (d *doctor) trace() []job {
	return []job{{name: "trace", run: func(ctx context.Context) []selfcheck.Check {
		c := selfcheck.Check{Name: "trace", State: selfcheck.OK}
		var protocols []string
		for _, p := range []string{protocolGRPC, protocolHTTP} {
			if d.sends[p] {
				protocols = append(protocols, p)
			}
		}
		if len(protocols) == 0 || !d.query {
			c.State, c.Detail = selfcheck.Skipped, "it takes an OTLP endpoint and a query port that answer"
			return []selfcheck.Check{c}
		}
		id := newTraceID()
		spans := map[pcommon.SpanID]string{}
		for i, p := range protocols {
			span := pcommon.SpanID{0xb0, 0, 0, 0, 0, 0, 0, byte(i + 1)}
			e := d.Targets.GRPC
			if p == protocolHTTP {
				e = d.Targets.HTTP
			}
			if err := d.send(ctx, p, e, testTrace(id, span, p, d.Now())); err != nil {
				c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("a span is not taken over %s: %v", p, err)
				c.Fix = "an empty request was taken: look at the log of the agent, at its memory limit and at the space on its disk"
				return []selfcheck.Check{c}
			}
			spans[span] = p
		}
		return d.read(ctx, id, spans, c)
	}}}
}

func newTraceID() (id pcommon.TraceID) {
	_, _ = rand.Read(id[:]) // It never fails (crypto/rand).
	return id
}

// testTrace is a trace with one span of a millisecond that ends now.
func testTrace(id pcommon.TraceID, span pcommon.SpanID, name string, now time.Time) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", ServiceName)
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(id)
	s.SetSpanID(span)
	s.SetName("doctor over " + name)
	s.SetKind(ptrace.SpanKindInternal)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Millisecond)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	return td
}

// read asks for the trace until all spans are there or the time is over.
func (d *doctor) read(ctx context.Context, id pcommon.TraceID, spans map[pcommon.SpanID]string, c selfcheck.Check) []selfcheck.Check {
	ctx, cancel := context.WithTimeout(ctx, d.Wait)
	defer cancel()
	started := time.Now()
	path := d.Targets.Query.Prefix + "/api/traces/" + hex.EncodeToString(id[:])
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	asked, best := 0, ptrace.NewTraces()
	for {
		asked++
		td, err := d.fetch(ctx, path)
		if err == nil && td.SpanCount() > best.SpanCount() {
			best = td
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if missing := absent(best, spans); len(missing) == 0 {
			c.Detail = fmt.Sprintf("%x was sent over %s and read back %d ms later, at question %d", id[:], names(spans), time.Since(started).Milliseconds(), asked)
			if asked > 1 && time.Since(started) > time.Second {
				c.State = selfcheck.Warn
				c.Fix = "not every question found it: if several agents are asked in turn, they answer for themselves only; set trace_query::peers (manifests/components/cluster)"
			}
			return append([]selfcheck.Check{c}, d.metadata(best)...)
		}
		select {
		case <-ctx.Done():
			missing := absent(best, spans)
			c.State = selfcheck.Fail
			c.Detail = fmt.Sprintf("%x was taken over %s; %s of it is not found after %s and %d questions (%v)", id[:], names(spans), strings.Join(missing, " and "), d.Wait, asked, last)
			c.Fix = "do the OTLP endpoint and the query port belong to the same installation, and to agents that know each other (trace_query::peers)? Does a sampler or filter before the store drop it, or a batch keep it?"
			return []selfcheck.Check{c}
		case <-tick.C:
		}
	}
}

// fetch reads a trace; the format of Trace in Tempo's API is that of TracesData in OTLP.
func (d *doctor) fetch(ctx context.Context, path string) (ptrace.Traces, error) {
	none := ptrace.NewTraces()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Targets.Query.URL(path), http.NoBody)
	if err != nil {
		return none, err
	}
	req.Header.Set("Accept", "application/protobuf")
	body, err := d.do(d.Targets.Query, req)
	if answer, ok := errors.AsType[*answerError](err); ok && answer.status == http.StatusNotFound {
		return none, errors.New("not found")
	}
	if err != nil {
		return none, err
	}
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		return none, fmt.Errorf("the answer is no trace: %w", err)
	}
	return td, nil
}

// absent lists the protocols whose spans are not in the trace, sorted.
func absent(td ptrace.Traces, spans map[pcommon.SpanID]string) (out []string) {
	found := map[pcommon.SpanID]bool{}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				found[s.SpanID()] = true
			}
		}
	}
	for id, name := range spans {
		if !found[id] {
			out = append(out, "the span over "+name)
		}
	}
	slices.Sort(out)
	return out
}

func names(spans map[pcommon.SpanID]string) string {
	var out []string
	for _, n := range spans {
		out = append(out, n)
	}
	slices.Sort(out)
	return strings.Join(out, " and ")
}

// metadata says whether the test trace got what k8s_attributes adds, where that is configured.
func (d *doctor) metadata(td ptrace.Traces) []selfcheck.Check {
	c := selfcheck.Check{Name: "trace/metadata", State: selfcheck.OK}
	if len(d.Targets.Kubernetes.Nodes) == 0 {
		return nil
	}
	for _, rs := range td.ResourceSpans().All() {
		if v, ok := rs.Resource().Attributes().Get("k8s.pod.name"); ok {
			c.Detail = "the spans are from the pod " + v.AsString()
			return []selfcheck.Check{c}
		}
	}
	c.State, c.Detail = selfcheck.Warn, "k8s_attributes has added no k8s.pod.name to the spans"
	c.Fix = "that is right if this does not run in a pod of the agent's node, or the pod is younger than a second; otherwise see the checks of Kubernetes, and kubernetes/metadata at /status/checks of the agent"
	return []selfcheck.Check{c}
}
