package head_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// TestRange: a head knows between which times the spans of each granule start, and rejects granules by it; a part that
// was taken earlier goes on to know at least what it has.
func TestRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	h := head.New("h", head.Options{})
	var starts []uint64
	var earlier []*head.Part
	for i := range 7 {
		b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
		for range store.GranuleRows / 2 {
			at := uint64(1000*i + rng.IntN(500))
			n := uint16(len(starts))
			starts = append(starts, at)
			b.Spans = append(b.Spans, store.Span{TraceID: spanid.TraceID{1, byte(n >> 8), byte(n)}, SpanID: spanid.SpanID{1}, StartNano: at, EndNano: at})
		}
		appendTo(t, h, b)
		earlier = append(earlier, h.Part(store.KindHead))
	}
	start := store.Intrinsic(store.SpanStart)
	for _, p := range earlier {
		info := p.Info()
		for g := range info.Granules() {
			rows := starts[g*store.GranuleRows : g*store.GranuleRows+info.GranuleLen(g)]
			lo, hi, ok := p.Range(g, start)
			require.True(t, ok)
			require.Equal(t, int64(slices.Min(rows)), lo)
			require.Equal(t, int64(slices.Max(rows)), hi)
			for at, may := range map[int64]bool{lo: true, hi: true, hi + 1: false} {
				require.Equal(t, may, p.MayMatch(g, &store.Predicate{Column: start, Op: store.OpGe, Values: []store.Value{store.Int(at)}}))
			}
			require.False(t, p.MayMatch(g, &store.Predicate{Column: start, Op: store.OpLt, Values: []store.Value{store.Int(lo)}}))
		}
		_, _, ok := p.Range(info.Granules(), start)
		require.False(t, ok, "there is no such granule")
		_, _, ok = p.Range(0, store.Intrinsic(store.SpanEnd))
		require.False(t, ok)
	}
	appendTo(t, h, &store.Batch{
		Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1),
		Spans: []store.Span{{TraceID: spanid.TraceID{1}, SpanID: spanid.SpanID{1}, StartNano: math.MaxUint64, EndNano: math.MaxUint64}},
	})
	p := h.Part(store.KindHead)
	info := p.Info()
	_, _, ok := p.Range(info.Granules()-1, start)
	require.False(t, ok, "times beyond int64 wrap around")
}
