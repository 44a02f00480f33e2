package harness

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Acks collects the ids of acknowledged spans. It is safe for concurrent use; the zero value is empty.
type Acks struct {
	mu     sync.Mutex
	traces map[[16]byte]map[[8]byte]struct{}
	spans  int
}

// Add notes that a span was acknowledged.
func (a *Acks) Add(trace [16]byte, span [8]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.traces == nil {
		a.traces = map[[16]byte]map[[8]byte]struct{}{}
	}
	spans := a.traces[trace]
	if spans == nil {
		spans = map[[8]byte]struct{}{}
		a.traces[trace] = spans
	}
	if _, again := spans[span]; !again {
		spans[span] = struct{}{}
		a.spans++
	}
}

// AddAll notes that all spans of a request were acknowledged.
func (a *Acks) AddAll(resourceSpans []*tracepb.ResourceSpans) {
	for _, s := range Spans(&tracepb.TracesData{ResourceSpans: resourceSpans}) {
		a.Add([16]byte(s.GetTraceId()), [8]byte(s.GetSpanId()))
	}
}

// Spans returns how many different spans were acknowledged.
func (a *Acks) Spans() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spans
}

// Traces returns how many different traces the acknowledged spans belong to.
func (a *Acks) Traces() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.traces)
}

// Each calls f for every trace with its acknowledged spans. f must not call methods of a.
func (a *Acks) Each(f func(trace [16]byte, spans [][8]byte)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for trace, spans := range a.traces {
		f(trace, slices.Collect(maps.Keys(spans)))
	}
}

// Missing asks b for every trace of which a span was acknowledged, and returns how many acknowledged spans are not in
// the answers, with a few of their ids (trace and span, as hex).
func (a *Acks) Missing(tb testing.TB, b *Bramble) (missing int, examples []string) {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for trace, spans := range a.traces {
		td, err := b.trace(tb.Context(), trace[:])
		require.NoError(tb, err)
		stored := map[[8]byte]struct{}{}
		for _, s := range Spans(td) {
			stored[[8]byte(s.GetSpanId())] = struct{}{}
		}
		for span := range spans {
			if _, ok := stored[span]; ok {
				continue
			}
			missing++
			if len(examples) < 5 {
				examples = append(examples, hex.EncodeToString(trace[:])+"/"+hex.EncodeToString(span[:]))
			}
		}
	}
	return missing, examples
}

// maxSearch is how many traces a search answers at most. A trace can have 100 spans (S-06).
const maxSearch = 262_144

// MissingInSearch is Missing by one search for everything. It reads the ids of spans only, and is by far the quicker of the
// two where traces are many or large.
func (a *Acks) MissingInSearch(tb testing.TB, b *Bramble) (missing int, examples []string) {
	tb.Helper()
	r := b.Get("/api/search?limit=" + strconv.Itoa(maxSearch) + "&spss=100&q=" + url.QueryEscape("{}"))
	require.Equal(tb, http.StatusOK, r.Status, "%.300s", r.Body)
	var answer struct {
		Traces []struct {
			TraceID  string `json:"traceID"`
			SpanSets []struct {
				Spans []struct {
					SpanID string `json:"spanID"`
				} `json:"spans"`
			} `json:"spanSets"`
		} `json:"traces"`
	}
	require.NoError(tb, json.Unmarshal(r.Body, &answer))
	require.Less(tb, len(answer.Traces), maxSearch)
	stored := map[string]map[string]bool{}
	for _, t := range answer.Traces {
		spans := map[string]bool{}
		for _, set := range t.SpanSets {
			for _, s := range set.Spans {
				spans[s.SpanID] = true
			}
		}
		stored[fmt.Sprintf("%032s", t.TraceID)] = spans // Zeros in front are not written.
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for trace, spans := range a.traces {
		id := hex.EncodeToString(trace[:])
		for span := range spans {
			if stored[id][hex.EncodeToString(span[:])] {
				continue
			}
			missing++
			if len(examples) < 5 {
				examples = append(examples, id+"/"+hex.EncodeToString(span[:]))
			}
		}
	}
	return missing, examples
}

// Sample returns at most n of the traces, with their spans.
func (a *Acks) Sample(n int) *Acks {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := &Acks{}
	for trace, spans := range a.traces { // The order of a map is random enough.
		if len(out.traces) >= n {
			break
		}
		for span := range spans {
			out.Add(trace, span)
		}
	}
	return out
}

// AckExporter passes spans on to an exporter of the Go SDK and notes those that it says it has sent.
type AckExporter struct {
	sdktrace.SpanExporter

	Acks *Acks
	// Failed, if set, is told of spans that the exporter gave up.
	Failed func(spans int, err error)
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *AckExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		if e.Failed != nil {
			e.Failed(len(spans), err)
		}
		return err
	}
	for _, s := range spans {
		e.Acks.Add(s.SpanContext().TraceID(), s.SpanContext().SpanID())
	}
	return nil
}
