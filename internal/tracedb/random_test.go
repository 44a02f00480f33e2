package tracedb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") == "1" }

// everything returns all spans of a store as its parts have them, and the ids of their traces.
func everything(tb testing.TB, s store.Viewer) (*store.Batch, []spanid.TraceID) {
	tb.Helper()
	v, err := s.View()
	require.NoError(tb, err)
	defer v.Release()
	out := &store.Batch{}
	for _, p := range v.Parts() {
		rows := make([]uint32, p.Info().Rows)
		for i := range rows {
			rows[i] = uint32(i)
		}
		require.NoError(tb, p.Spans(tb.Context(), rows, out))
	}
	var ids []spanid.TraceID
	for i := range out.Spans {
		ids = append(ids, out.Spans[i].TraceID)
	}
	slices.SortFunc(ids, func(a, b spanid.TraceID) int { return slices.Compare(a[:], b[:]) })
	return out, slices.Compact(ids)
}

// counts answers a predicate for a whole view: how many spans satisfy it, and which values a column has how often.
func counts(tb testing.TB, s store.Viewer, p *store.Predicate) (matches int, values map[store.Value]int) {
	tb.Helper()
	v, err := s.View()
	require.NoError(tb, err)
	defer v.Release()
	values = map[store.Value]int{}
	for _, part := range v.Parts() {
		info := part.Info()
		for g := range info.Granules() {
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			require.NoError(tb, part.Filter(tb.Context(), g, p, &sel))
			if sel.Any() {
				require.True(tb, part.MayMatch(g, p))
			}
			matches += sel.Count()
			var vec store.Vector
			require.NoError(tb, part.Read(tb.Context(), g, p.Column, &sel, &vec))
			var buf []store.Value
			for i := range sel.Count() {
				for _, val := range vec.AppendTo(buf[:0], i) {
					values[val]++
				}
			}
		}
	}
	return matches, values
}

// attributes sums up the catalogue of all parts.
func attributes(tb testing.TB, s store.Viewer) map[string]int {
	tb.Helper()
	v, err := s.View()
	require.NoError(tb, err)
	defer v.Release()
	out := map[string]int{}
	for _, p := range v.Parts() {
		infos, err := p.Attributes(tb.Context())
		require.NoError(tb, err)
		for _, a := range infos {
			out[fmt.Sprintf("%v %v", a.Column, a.Type)] += a.Rows
		}
	}
	return out
}

// checkSplit compares View.Split with where traces really are.
func checkSplit(tb testing.TB, s store.Viewer) {
	tb.Helper()
	v, err := s.View()
	require.NoError(tb, err)
	defer v.Release()
	parts := map[spanid.TraceID]int{}
	for _, p := range v.Parts() {
		seen := map[spanid.TraceID]bool{}
		rows := make([]uint32, p.Info().Rows)
		for i := range rows {
			rows[i] = uint32(i)
		}
		b := &store.Batch{}
		require.NoError(tb, p.Spans(tb.Context(), rows, b))
		for i := range b.Spans {
			if id := b.Spans[i].TraceID; !seen[id] {
				seen[id] = true
				parts[id]++
			}
		}
	}
	want := 0
	for id, n := range parts {
		require.Equal(tb, n > 1, v.Split().Has(id), "trace %s in %d parts", id, n)
		if n > 1 {
			want++
		}
	}
	require.Equal(tb, want, v.Split().Len())
}

// requireSameStores compares all that can be seen of two stores.
func requireSameStores(t *testing.T, want *oracle.Store, got *tracedb.DB, rng *rand.Rand) {
	t.Helper()
	a, wantIDs := everything(t, want)
	b, gotIDs := everything(t, got)
	storetest.RequireSameSpans(t, a, b)
	require.Equal(t, wantIDs, gotIDs)
	checkSplit(t, got)
	require.Equal(t, attributes(t, want), attributes(t, got))
	require.Equal(t, len(b.Spans), got.Stats().Spans)
	for range 12 {
		c := store.Column{
			Scope: store.ColumnScope(1 + rng.IntN(int(store.ScopeUnscoped))), Name: testkit.NastyKeys[rng.IntN(len(testkit.NastyKeys))],
		}
		if rng.IntN(3) == 0 {
			c = store.Intrinsic(store.Intrinsics[rng.IntN(len(store.Intrinsics)-1)]) // All but ResourceRef.
		}
		p := store.Predicate{Column: c, Op: store.Op(rng.IntN(int(store.OpGe) + 1))}
		if p.Op >= store.OpEq {
			p.Values = []store.Value{testkit.NewNasty(rng.Uint64()).Value(0)}
		}
		wantN, wantValues := counts(t, want, &p)
		gotN, gotValues := counts(t, got, &p)
		require.Equal(t, wantN, gotN, "%v %s %v", c, p.Op, p.Values)
		require.Equal(t, wantValues, gotValues, "%v %s %v", c, p.Op, p.Values)
	}
}

// TestRandomOperations does the same to a DB and to the oracle and compares them after each round. Reopening comes in
// two forms: an orderly close, and a crash of the machine with sync always, after which nothing acknowledged may be
// missing.
func TestRandomOperations(t *testing.T) {
	seeds := 2
	if full() {
		seeds = 300
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { randomOperations(t, seed) })
	}
}

func randomOperations(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 21))
	fsys := fsx.NewMem()
	opts := tracedb.Options{
		Dir: "data", FS: fsys,
		Cut:        tracedb.CutOptions{Spans: 1 + rng.IntN(200), MaxFrozen: 1 + rng.IntN(4)},
		PurgeAfter: []time.Duration{time.Nanosecond, time.Hour}[rng.IntN(2)],
		WAL:        tracedb.WALOptions{Sync: tracedb.SyncAlways, SegmentBytes: 1 << (18 + rng.IntN(6))},
		MaxColumns: rng.IntN(60),
		// A merge keeps one of spans that are the same, at a time of its own: see TestMetamorphic.
		Compaction: tracedb.CompactionOptions{Off: true},
	}
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(context.Background())) }()
	want := oracle.New(1 + rng.IntN(100))
	gen := testkit.NewNasty(seed)
	gen.MaxString = 1 << 10
	var ids []spanid.TraceID
	for range 4 {
		for range 10 {
			switch op := rng.IntN(15); {
			case op < 7:
				b := gen.Batch(1 + rng.IntN(60))
				require.NoError(t, want.Append(t.Context(), b))
				require.NoError(t, db.Append(t.Context(), b))
				ids = append(ids, b.Spans[0].TraceID)
			case op < 8:
				require.NoError(t, db.Cut())
			case op < 10 && len(ids) > 0:
				id := ids[rng.IntN(len(ids))]
				n, err := db.DeleteTrace(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, want.DeleteTrace(id), n)
			case op < 11:
				require.NoError(t, db.Cut())
				require.NoError(t, db.Flush())
			case op < 12:
				require.NoError(t, db.Rewrite(t.Context()))
			case op < 14:
				require.NoError(t, db.Close(t.Context()))
				db, err = tracedb.Open(t.Context(), opts)
				require.NoError(t, err)
			default:
				crashed := fsys.CrashClone(rng)
				require.NoError(t, db.Close(t.Context()))
				fsys, opts.FS = crashed, crashed
				db, err = tracedb.Open(t.Context(), opts)
				require.NoError(t, err)
				require.Zero(t, db.Stats().Corruptions)
			}
		}
		requireSameStores(t, want, db, rng)
		for _, id := range ids[max(0, len(ids)-5):] {
			requireSameTrace(t, want, db, id)
		}
	}
}

// requireSameTrace compares a trace read by id, as far as the contract says which of two copies of a span wins.
func requireSameTrace(t *testing.T, want *oracle.Store, got *tracedb.DB, id spanid.TraceID) {
	t.Helper()
	read := func(s store.Viewer) (map[string]bool, error) {
		v, err := s.View()
		require.NoError(t, err)
		defer v.Release()
		tr, err := v.Trace(t.Context(), id, 0)
		if err != nil {
			return nil, err
		}
		out := map[string]bool{}
		for i := range tr.Spans {
			key := fmt.Sprint(tr.Spans[i].SpanID, tr.Spans[i].Kind)
			require.False(t, out[key], "span %s occurs twice", key)
			out[key] = true
		}
		return out, nil
	}
	a, wantErr := read(want)
	b, gotErr := read(got)
	require.Equal(t, a, b)
	if wantErr != nil {
		require.ErrorIs(t, gotErr, store.ErrNotFound)
	}
}
