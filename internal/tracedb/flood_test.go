package tracedb_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestFloods appends 100,000 attribute keys, and as many values as there are spans, to a store with little memory: it
// stays in its budget throughout, and finds a key and a value again.
func TestFloods(t *testing.T) {
	const memory = 24 << 20
	const emptyHead = 128 << 10 // A cut makes the next head without asking.
	for name, attr := range map[string]func(n int) store.Attr{
		"keys": func(n int) store.Attr { return store.Attr{Key: fmt.Sprintf("key.%d", n), Value: store.Int(int64(n))} },
		"values": func(n int) store.Attr {
			return store.Attr{Key: "unique", Value: store.String(fmt.Sprintf("value %d", n))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			spans, each := 5000, 20 // 100,000 keys
			if name == "values" {
				spans, each = 20_000, 1
			}
			if full() {
				spans *= 5
			}
			db := open(t, tracedb.Options{FS: fsx.NewMem(), Dir: "data", MemoryBytes: memory})
			g := testkit.NewGenerator(1)
			appended, n := 0, 0
			for appended < spans {
				b := g.Batch(100)
				for i := range b.Spans {
					for range each {
						b.Spans[i].Attrs = append(b.Spans[i].Attrs, attr(n))
						n++
					}
				}
				require.NoError(t, db.Append(t.Context(), b))
				appended += len(b.Spans)
				st := db.Stats()
				require.LessOrEqual(t, st.Memory.Used, st.Memory.Limit+emptyHead)
				require.LessOrEqual(t, st.CacheBytes, int64(memory)/5)
			}
			require.NoError(t, db.Rewrite(t.Context()))
			require.NoError(t, db.Compact(t.Context()))
			st := db.Stats()
			// In so little memory what a writer has by itself is half of what is kept for it; the rest is taken from heads.
			require.LessOrEqual(t, st.Flushing.Peak, 2*st.Flushing.Limit+emptyHead)
			require.LessOrEqual(t, st.AllMemory.Peak, int64(memory)*11/10)
			require.LessOrEqual(t, st.Merging.Peak, int64(memory)*6/10, "keys without column are not merged, values are")
			require.Zero(t, st.Flushing.Used+st.Merging.Used)
			require.Equal(t, appended, db.Stats().Spans)
			for _, k := range []int{0, n / 2, n - 1} {
				a := attr(k)
				p := store.Predicate{Column: store.Column{Scope: store.ScopeSpan, Name: a.Key}, Op: store.OpEq, Values: []store.Value{a.Value}}
				found, _ := counts(t, db, &p)
				require.Equal(t, 1, found, "%v", a)
			}
		})
	}
}

// TestHugeTrace stores a trace of 1,000,000 spans (20,000 by default) over several blocks and the head. Reading it is cut
// at the limit and says so (T-03); whatever counts spans counts all.
func TestHugeTrace(t *testing.T) {
	spans, limit := 20_000, int64(2<<20)
	if full() {
		spans, limit = 1_000_000, 50<<20
	}
	opts := tracedb.Options{FS: fsx.NewMem(), Dir: "data", Cut: tracedb.CutOptions{Spans: spans / 3}}
	db := open(t, opts)
	id := spanid.TraceID{1, 2, 3}
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	const piece = 5000
	for n := 0; n < spans; n += piece {
		b.Spans = b.Spans[:0]
		for i := n; i < n+piece; i++ {
			b.Spans = append(b.Spans, store.Span{
				TraceID: id, SpanID: spanid.SpanID{byte(i >> 16), byte(i >> 8), byte(i), 1}, Name: "step", StartNano: uint64(1e18 + i), EndNano: uint64(1e18 + 2*i),
				Attrs: []store.Attr{{Key: "n", Value: store.Int(int64(i))}, {Key: "text", Value: store.String(strings.Repeat("x", i%50))}},
			})
		}
		require.NoError(t, db.Append(t.Context(), b))
	}
	check := func() {
		t.Helper()
		p := store.Predicate{Column: store.Column{Scope: store.ScopeSpan, Name: "n"}, Op: store.OpGe, Values: []store.Value{store.Int(0)}}
		found, values := counts(t, db, &p)
		require.Equal(t, spans, found)
		require.Len(t, values, spans)
		v, err := db.View()
		require.NoError(t, err)
		defer v.Release()
		require.True(t, v.Split().Has(id))
		tr, err := v.Trace(t.Context(), id, limit)
		require.NoError(t, err)
		require.Contains(t, tr.Partial, strconv.FormatInt(limit, 10))
		require.Greater(t, len(tr.Spans), 1000)
		require.Less(t, len(tr.Spans), spans)
		tr, err = v.Trace(t.Context(), id, 0)
		require.NoError(t, err)
		require.Empty(t, tr.Partial)
		require.Len(t, tr.Spans, spans)
	}
	require.NoError(t, db.Flush())
	require.Greater(t, db.Stats().Blocks, 1)
	check()
	require.NoError(t, db.Close(t.Context()))
	db = open(t, opts)
	check()
}
