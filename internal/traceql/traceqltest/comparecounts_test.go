package traceqltest

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// shop returns spans of the reference workload, from Epoch on.
func shop(spans int) *store.Batch {
	g := testkit.NewGenerator(3)
	g.SetTime(time.Unix(0, Epoch))
	return g.Batch(spans)
}

// compared is a series of compare.
type compared struct{ meta, attr, value string }

// comparedSeries are the samples by series that are not zero.
type comparedSeries map[compared]map[int64]float64

// comparedPoints returns the samples of compare by series, and which attributes have more values than are shown.
func comparedPoints(t *testing.T, v store.View, query string, o exec.MetricsOptions) (comparedSeries, map[string]bool) {
	t.Helper()
	q, err := traceql.Compile(query)
	if err != nil {
		t.Fatal(err)
	}
	res, err := exec.Metrics(t.Context(), v, q, o)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	out, more := comparedSeries{}, map[string]bool{}
	for _, s := range res.Series {
		if len(s.Labels) > 2 {
			more[s.Labels[len(s.Labels)-1].Key] = true
			continue
		}
		points := map[int64]float64{}
		for _, p := range s.Samples {
			if p.Value != 0 {
				points[p.Millis] = p.Value
			}
		}
		out[compared{s.Labels[0].Value.S, s.Labels[1].Key, s.Labels[1].Value.String()}] = points
	}
	return out, more
}

// TestCompareByCounts: blocks know how often values occur in row groups. What they count must be what is
// counted row by row in a head, whichever way rows lie over buckets, parts and the selection, also where attributes have
// too many values to list.
func TestCompareByCounts(t *testing.T) {
	b := shop(30_000)
	first, last := int64(1<<62), int64(0)
	for i := range b.Spans {
		s := int64(b.Spans[i].StartNano)
		first, last = min(first, s), max(last, s)
	}
	whole := engineView(t, b, engineForms["head"])
	for _, name := range []string{"block", "several, and head", "level 2"} {
		view := engineView(t, b, engineForms[name])
		for _, query := range []string{
			`{ } | compare({ status = error }, 200)`, `{ } | compare({ duration > 1s }, 200)`, `{ } | compare({ resource.service.name = "cart" && status != error }, 200)`,
			fmt.Sprintf(`{ } | compare({ status = error }, 200, %d, %d)`, first+int64(10*time.Second), first+int64(20*time.Second)),
			`{ span.http.response.status_code >= 400 } | compare({ status = error }, 200)`,
		} {
			for _, o := range []exec.MetricsOptions{
				{Start: first, End: last, Step: time.Hour},
				{Start: first, End: last, Step: 9 * time.Second},
				{Start: first + int64(5*time.Second), End: last - int64(8*time.Second), Step: 7 * time.Second},
				{Start: first + int64(12*time.Second), End: last, Instant: true},
			} {
				want, _ := comparedPoints(t, whole, query, o)
				got, more := comparedPoints(t, view, query, o)
				compareCounted(t, fmt.Sprintf("%s, %s, %+v", name, query, o), got, want, more)
			}
		}
	}
}

// compareCounted demands the same totals and the same values, but for those that few, fewer than one in 100, of the spans with the
// attribute have: of attributes with very many values these may be left out.
func compareCounted(t *testing.T, what string, got, want comparedSeries, more map[string]bool) {
	t.Helper()
	if len(want) < 50 {
		t.Fatalf("%s: only %d series", what, len(want))
	}
	sum := func(points map[int64]float64) (n float64) {
		for _, v := range points {
			n += v
		}
		return n
	}
	spans := map[string]float64{}
	for k, points := range want {
		if k.meta == "baseline_total" || k.meta == "selection_total" {
			spans[k.attr] += sum(points)
		}
	}
	different := 0
	compare := func(a, b comparedSeries, text string) {
		for k, points := range a {
			other, ok := b[k]
			switch {
			case ok && maps.Equal(points, other), !ok && len(points) == 0:
			case !ok && more[k.attr] && sum(points)*100 < spans[k.attr]:
			default:
				t.Errorf("%s: %v %s: %v, %v", what, k, text, points, other)
				if different++; different > 5 {
					t.FailNow()
				}
			}
		}
	}
	compare(want, got, "is not as it should be")
	compare(got, want, "is too much")
}

// TestCompareWhereNothingIsCounted: where a row group has no counts of an attribute, because the values of events have several
// types, its values are counted row by row, those that no other row group has too.
func TestCompareWhereNothingIsCounted(t *testing.T) {
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	values := []store.Value{store.String("a"), store.String("a"), store.Int(1), store.Bool(false), store.Bool(false), store.Bool(true), store.String("b"), store.Float(2)}
	for i, v := range values {
		start := uint64(Epoch) + uint64(i)*uint64(time.Second)
		b.Spans = append(b.Spans, store.Span{
			TraceID: spanid.TraceID{15: byte(i + 1)}, SpanID: spanid.SpanID{7: 1}, Name: "s", StartNano: start, EndNano: start + 1,
			Events: []store.Event{{TimeNano: start, Name: "e", Attrs: []store.Attr{{Key: "x", Value: v}}}},
		})
	}
	o := exec.MetricsOptions{Start: Epoch - 1, End: Epoch + int64(time.Minute), Instant: true}
	for name, form := range engineForms {
		got, more := comparedPoints(t, engineView(t, b, form), `{ } | compare({ status = error }, 10)`, o)
		if more["event.x"] {
			t.Errorf("%s: values were left out", name)
		}
		for value, spans := range map[string]float64{`"a"`: 2, "1": 1, "false": 2, "true": 1, `"b"`: 1, "2.0": 1} {
			sum := 0.0
			for _, n := range got[compared{"baseline", "event.x", value}] {
				sum += n
			}
			if sum != spans {
				t.Errorf("%s: event.x = %s has %v spans, not %v: %v", name, value, sum, spans, got)
			}
		}
	}
}

// TestCompareCommonAmongMany: values that some spans of all blocks have, or only those of one block or of the head, are counted although the blocks have so many others that
// rare ones are given up.
func TestCompareCommonAmongMany(t *testing.T) {
	const portion, blocks, head = 1000, 12, 3
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for i := range portion * (blocks + head) {
		value := store.String("new")
		switch {
		case i >= portion*blocks:
		case i%50 == 0:
			value = store.String("often")
		case i%2 == 0 && i < portion: // Blocks are counted newest first.
			value = store.String("early")
		default:
			value = store.Int(int64(i))
		}
		start := uint64(Epoch) + uint64(i)*uint64(time.Millisecond)
		b.Spans = append(b.Spans, store.Span{
			TraceID: spanid.TraceID{14: byte(i >> 8), 15: byte(i), 0: 1}, SpanID: spanid.SpanID{7: 1}, Name: "s", StartNano: start, EndNano: start + 1,
			Attrs: []store.Attr{{Key: "x", Value: value}},
		})
	}
	view := engineView(t, b, engineForm{portions: blocks + head, cut: func(i int) bool { return i < blocks }})
	got, _ := comparedPoints(t, view, `{ } | compare({ status = error }, 10)`, exec.MetricsOptions{Start: Epoch - 1, End: Epoch + int64(time.Minute), Instant: true})
	for k, want := range map[compared]float64{
		{"baseline", "span.x", `"new"`}: portion * head, {"baseline", "span.x", `"often"`}: portion * blocks / 50,
		{"baseline", "span.x", `"early"`}: portion/2 - portion/50, {"baseline_total", "span.x", `"nil"`}: portion * (blocks + head),
	} {
		sum := 0.0
		for _, n := range got[k] {
			sum += n
		}
		if sum != want {
			t.Errorf("%v has %v spans, not %v", k, sum, want)
		}
	}
}
