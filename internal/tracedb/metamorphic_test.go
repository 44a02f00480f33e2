package tracedb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// operation is a step of the list that all variants do.
type operation struct {
	what  int
	batch *store.Batch
	at    int // which of the traces so far
	step  time.Duration
}

const (
	opAppend = iota
	opQuery
	opCut
	opFlush
	opCompact
	opDelete
	opReload
	opCrash
	opClock
	opRewrite
	opPin
	operations
)

// operationList returns a random list. Spans that come late belong to traces that were there before.
func operationList(seed uint64, n int) []operation {
	rng := rand.New(rand.NewPCG(seed, 33))
	gen := testkit.NewNasty(seed)
	gen.MaxString = 300
	var out []operation
	var earlier []spanid.TraceID
	for i := range n {
		o := operation{what: rng.IntN(operations), at: rng.IntN(1 << 20), step: time.Duration(rng.IntN(40)) * time.Minute}
		if i == 0 || rng.IntN(3) == 0 {
			o.what = opAppend
		}
		if o.what == opAppend {
			o.batch = gen.Batch(1 + rng.IntN(50))
			for j := range o.batch.Spans {
				s := &o.batch.Spans[j]
				s.SpanID = spanid.SpanID{byte(i), byte(j), 7} // No two are the same: which copy is kept is not at stake.
				if len(earlier) > 0 && rng.IntN(6) == 0 {
					s.TraceID = earlier[rng.IntN(len(earlier))]
				}
				earlier = append(earlier, s.TraceID)
			}
		}
		out = append(out, o)
	}
	return out
}

// TestMetamorphic does one random list of operations to stores with different options and to the oracle. When everything has
// left the recent window, all give the same answers.
func TestMetamorphic(t *testing.T) {
	seeds, variants := 2, 3
	if full() {
		seeds, variants = 60, 8
	}
	for seed := range uint64(seeds) {
		list := operationList(seed, 60)
		for variant := range uint64(variants) {
			t.Run(fmt.Sprintf("seed %d variant %d", seed, variant), func(t *testing.T) {
				metamorphic(t, list, seed, variant)
			})
		}
	}
}

func metamorphic(t *testing.T, list []operation, seed, variant uint64) {
	rng := rand.New(rand.NewPCG(seed, 100+variant))
	now := &clock{}
	now.Set(time.Date(2026, 3, 4, 20, 0, 0, 0, time.UTC)) // A day ends meanwhile.
	fsys := fsx.NewMem()
	decides := variant%3 != 0
	opts := tracedb.Options{
		Dir: "data", FS: fsys, Clock: now.Now, MaintenanceInterval: time.Hour,
		Cut:        tracedb.CutOptions{Spans: 1 + rng.IntN(300), MaxFrozen: 1 + rng.IntN(4), Age: time.Hour},
		PurgeAfter: []time.Duration{time.Nanosecond, time.Hour}[rng.IntN(2)],
		WAL:        tracedb.WALOptions{Sync: tracedb.SyncAlways, SegmentBytes: 1 << (18 + rng.IntN(6))},
		MaxColumns: rng.IntN(60),
		Retention:  tracedb.Retention{Recent: time.Hour},
		Compaction: tracedb.CompactionOptions{Off: variant%4 == 3, MinBlocks: 2 + rng.IntN(3)},
	}
	want := oracle.New(1 + rng.IntN(100))
	k := newKeeper(t)
	var db *tracedb.DB
	reopen := func() {
		var err error
		db, err = tracedb.Open(t.Context(), opts)
		require.NoError(t, err)
		require.Zero(t, db.Stats().Corruptions)
		if decides {
			_, err = db.SetDecider(k)
			require.NoError(t, err)
		}
	}
	reopen()
	defer func() { require.NoError(t, db.Close(context.Background())) }()
	pinned := map[spanid.TraceID]bool{}
	var ids []spanid.TraceID
	for _, o := range list {
		switch o.what {
		case opAppend:
			b := *o.batch
			require.NoError(t, want.Append(t.Context(), &b))
			require.NoError(t, db.Append(t.Context(), &b))
			for i := range b.Spans {
				ids = append(ids, b.Spans[i].TraceID)
			}
		case opQuery:
			checkSplit(t, db)
			requireDecisions(t, db, ids[o.at%len(ids)], decides)
		case opCut:
			require.NoError(t, db.Cut())
		case opFlush:
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
		case opCompact:
			require.NoError(t, db.Compact(t.Context()))
		case opDelete:
			id := ids[o.at%len(ids)]
			delete(pinned, id)
			want.DeleteTrace(id)
			_, err := db.DeleteTrace(t.Context(), id)
			require.NoError(t, err)
		case opReload:
			require.NoError(t, db.Close(t.Context()))
			reopen()
		case opCrash:
			crashed := fsys.CrashClone(rng)
			require.NoError(t, db.Close(t.Context()))
			fsys, opts.FS = crashed, crashed
			reopen()
		case opClock:
			now.Advance(o.step)
		case opPin:
			// A trace that is whole and undecided: all of it stays, what comes late included.
			id := ids[o.at%len(ids)]
			_, decided, err := db.Decision(t.Context(), id)
			require.NoError(t, err)
			if a, err := readTrace(t, db, id); !decided && err == nil {
				require.NotEmpty(t, a)
				require.NoError(t, db.Pin(t.Context(), []spanid.TraceID{id}))
				pinned[id] = true
			}
		case opRewrite:
			require.NoError(t, db.Rewrite(t.Context()))
		}
	}
	// Everything leaves the window, whatever was done before.
	require.NoError(t, db.Cut())
	require.NoError(t, db.Flush())
	for range 3 {
		now.Advance(30 * time.Hour)
		require.NoError(t, db.Compact(t.Context()))
	}
	if decides {
		for _, id := range ids {
			if !keeps(id).Keep && !pinned[id] {
				want.DeleteTrace(id)
			}
		}
	}
	requireSameStores(t, want, db, rng)
	for _, id := range ids[max(0, len(ids)-5):] {
		requireSameTrace(t, want, db, id)
	}
	if decides {
		got, _ := everything(t, db)
		decisions, _ := columns(t, db)
		expect := map[store.Value]int{}
		for i := range got.Spans {
			if keeps(got.Spans[i].TraceID).Keep {
				expect[store.String("kept")]++
			} else {
				expect[store.String("dropped")]++ // and pinned
			}
		}
		require.Equal(t, expect, decisions)
	}
}

// readTrace returns the spans of a trace.
func readTrace(t *testing.T, s store.Viewer, id spanid.TraceID) ([]store.Span, error) {
	t.Helper()
	v, err := s.View()
	require.NoError(t, err)
	defer v.Release()
	tr, err := v.Trace(t.Context(), id, 0)
	if err != nil {
		return nil, err
	}
	return tr.Spans, nil
}

// requireDecisions checks that what is said about a trace is what the decider says.
func requireDecisions(t *testing.T, db *tracedb.DB, id spanid.TraceID, decides bool) {
	t.Helper()
	d, ok, err := db.Decision(t.Context(), id)
	require.NoError(t, err)
	if !decides {
		require.False(t, ok)
		return
	}
	if ok {
		require.Equal(t, keeps(id), d)
	}
}
