package head_test

import (
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// workload returns batches of the reference workload with n spans or a few more.
func workload(n, batch int) (batches []*store.Batch, spans int) {
	g := testkit.NewGenerator(1)
	for spans < n {
		b := g.Batch(batch)
		batches = append(batches, b)
		spans += len(b.Spans)
	}
	return batches, spans
}

// BenchmarkAppend fills heads of the usual size. The interesting number is ns/span.
func BenchmarkAppend(b *testing.B) {
	batches, spans := workload(100_000, 500)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		h := head.New("h", head.Options{})
		for _, batch := range batches {
			if _, err := h.Append(batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(h.Bytes())/float64(spans), "headB/span")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*spans), "ns/span")
}

// BenchmarkFilter evaluates one predicate over all rows; ns/span.
func BenchmarkFilter(b *testing.B) {
	h := head.New("h", head.Options{})
	batches, spans := workload(200_000, 500)
	for _, batch := range batches {
		appendTo(b, h, batch)
	}
	p := h.Part(store.KindFrozen)
	info := p.Info()
	span := func(name string) store.Column { return store.Column{Scope: store.ScopeSpan, Name: name} }
	for _, bc := range []struct {
		name string
		pred store.Predicate
	}{
		{"int", store.Predicate{Column: span("http.response.status_code"), Op: store.OpEq, Values: []store.Value{store.Int(500)}}},
		{"string", store.Predicate{Column: span("http.request.method"), Op: store.OpEq, Values: []store.Value{store.String("GET")}}},
		{"regex", store.Predicate{Column: span("url.path"), Op: store.OpRegex, Regex: regexp.MustCompile(`^(?s:.*cart.*)$`)}},
		{"duration", store.Predicate{Column: store.Intrinsic(store.SpanDuration), Op: store.OpGt, Values: []store.Value{store.Int(1e9)}}},
		{"name", store.Predicate{Column: store.Intrinsic(store.SpanName), Op: store.OpEq, Values: []store.Value{store.String("GET /")}}},
		{"resource", store.Predicate{
			Column: store.Column{Scope: store.ScopeResource, Name: "service.name"}, Op: store.OpEq, Values: []store.Value{store.String("cart")},
		}},
		{"unscoped", store.Predicate{
			Column: store.Column{Scope: store.ScopeUnscoped, Name: "service.name"}, Op: store.OpEq, Values: []store.Value{store.String("cart")},
		}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			var sel store.Bitmap
			for b.Loop() {
				for g := range info.Granules() {
					sel.Fill(info.GranuleLen(g))
					if err := p.Filter(b.Context(), g, &bc.pred, &sel); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*spans), "ns/span")
		})
	}
}

// BenchmarkTrace reads whole traces by id; the time is per trace of about 21 spans.
func BenchmarkTrace(b *testing.B) {
	h := head.New("h", head.Options{})
	batches, _ := workload(200_000, 500)
	for _, batch := range batches {
		appendTo(b, h, batch)
	}
	p := h.Part(store.KindFrozen)
	var rows []uint32
	var dst store.Batch
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		id, _ := p.TraceAt(i % p.Traces())
		i += 7
		var err error
		if rows, err = p.TraceRows(b.Context(), id, rows[:0]); err != nil {
			b.Fatal(err)
		}
		dst.Reset()
		if err := p.Spans(b.Context(), rows, &dst); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReader reads a head as a flush does; ns/span and what it allocates.
func BenchmarkReader(b *testing.B) {
	const piece = 4096
	h := head.New("h", head.Options{})
	batches, spans := workload(100_000, 500)
	for _, batch := range batches {
		appendTo(b, h, batch)
	}
	rows := make([]uint32, piece)
	var dst store.Batch
	b.ReportAllocs()
	for b.Loop() {
		r := h.Part(store.KindFrozen).Reader()
		for from := 0; from+piece <= spans; from += piece {
			for i := range rows {
				rows[i] = uint32(from + i)
			}
			dst.Reset()
			if err := r.Spans(b.Context(), rows, &dst); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(spans/piece*piece)), "ns/span")
}

// TestBytesAreReal compares the accounting with what the garbage collector sees.
func TestBytesAreReal(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, tc := range []struct {
		name string
		fill func(h *head.Head)
	}{
		{"reference workload", func(h *head.Head) {
			g := testkit.NewGenerator(5)
			for h.Rows() < 40_000 {
				appendTo(t, h, g.Batch(500))
			}
		}},
		{"unpleasant spans", func(h *head.Head) {
			g := testkit.NewNasty(5)
			for h.Rows() < 4_000 {
				appendTo(t, h, g.Batch(200))
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heap()
			h := head.New("h", head.Options{})
			tc.fill(h)
			used := heap() - before
			t.Logf("counted %d, heap grew by %d, %d rows", h.Bytes(), used, h.Rows())
			require.InDelta(t, float64(used), float64(h.Bytes()), 0.3*float64(used))
			runtime.KeepAlive(h)
		})
	}
}
