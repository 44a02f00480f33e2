package traceqltest

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/internal/traceql"
)

// engine opens the real store without retention, far from any automatic cut.
func engine(tb testing.TB) *tracedb.DB {
	tb.Helper()
	return engineAt(tb, func() time.Time { return time.Unix(0, Epoch).Add(time.Minute) }, tracedb.CompactionOptions{})
}

func engineAt(tb testing.TB, clock func() time.Time, compaction tracedb.CompactionOptions) *tracedb.DB {
	tb.Helper()
	opts := tracedb.Options{Dir: tb.TempDir(), Clock: clock, Compaction: compaction}
	opts.WAL.Sync = tracedb.SyncOff
	opts.Cut = tracedb.CutOptions{Age: time.Hour, Spans: 10_000_000, Bytes: 1 << 40}
	opts.MemoryBytes = 4 << 30
	db, err := tracedb.Open(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Log(err)
		}
	})
	return db
}

// engineView appends the spans in portions and cuts the head after those portions for which cut is true, then waits
// until what was cut is in blocks.
func engineView(tb testing.TB, b *store.Batch, form engineForm) store.View {
	tb.Helper()
	now := atomic.Int64{}
	now.Store(Epoch + int64(time.Minute))
	options := tracedb.CompactionOptions{}
	if form.merge != nil {
		options.MinBlocks = 2
	}
	db := engineAt(tb, func() time.Time { return time.Unix(0, now.Load()) }, options)
	for i := range form.portions {
		lo, hi := len(b.Spans)*i/form.portions, len(b.Spans)*(i+1)/form.portions
		part := &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: b.Spans[lo:hi]}
		if len(part.Spans) > 0 {
			if err := db.Append(tb.Context(), part); err != nil {
				tb.Fatal(err)
			}
		}
		if form.cut(i) {
			if err := db.Cut(); err != nil {
				tb.Fatal(err)
			}
			awaitBlocks(tb, db)
		}
		if form.merge != nil && form.merge(i) {
			if i > 0 && i == form.late {
				now.Add(int64(49 * time.Hour))
			}
			if err := db.Compact(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	v, err := db.View()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Release)
	return v
}

// awaitBlocks waits until no frozen head is left. A busy machine may take long to write a block; then the test goes on
// with the frozen head, whose answers must be the same.
func awaitBlocks(tb testing.TB, db *tracedb.DB) {
	tb.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		v, err := db.View()
		if err != nil {
			tb.Fatal(err)
		}
		frozen := slices.ContainsFunc(v.Parts(), func(p store.Part) bool { return p.Info().Kind == store.KindFrozen })
		v.Release()
		if !frozen {
			return
		}
	}
}

// engineForm says how spans are spread over the store.
type engineForm struct {
	portions int
	cut      func(i int) bool
	merge    func(i int) bool // Do the merges that are due after a portion; nil for never.
	late     int              // After this portion it is two days later, so that merges of the day are due; 0 for never.
}

var engineForms = map[string]engineForm{
	"head":              {portions: 1, cut: func(int) bool { return false }},
	"block":             {portions: 1, cut: func(int) bool { return true }},
	"block and head":    {portions: 2, cut: func(i int) bool { return i == 0 }},
	"several, and head": {portions: 4, cut: func(i int) bool { return i < 3 }},
	"level 1, and head": {portions: 4, cut: func(i int) bool { return i < 3 }, merge: func(i int) bool { return i == 2 }},
	"level 2": {
		portions: 4, cut: func(int) bool { return true }, merge: func(i int) bool { return i == 1 || i == 3 }, late: 3,
	},
	"all levels, and head": {
		portions: 6, cut: func(i int) bool { return i < 5 }, merge: func(i int) bool { return i == 1 || i == 3 }, late: 3,
	},
}

// TestLevels shows that forms have blocks of the levels that they are named after, as long as the machine is not too busy to
// write blocks in time.
func TestLevels(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(1, 2))}
	b := g.traces(20)
	for name, want := range map[string]int{"block": 0, "level 1, and head": 1, "level 2": 2, "all levels, and head": 2} {
		t.Run(name, func(t *testing.T) {
			var levels []int
			for _, p := range engineView(t, b, engineForms[name]).Parts() {
				info := p.Info()
				if info.Kind == store.KindFrozen {
					t.Skip("a frozen head is not written yet")
				}
				if info.Kind == store.KindBlock {
					levels = append(levels, info.Level)
				}
			}
			if !slices.Contains(levels, want) {
				t.Errorf("blocks have levels %v, not %d", levels, want)
			}
		})
	}
}

// someForms is one form that has everything, or all of them in full runs.
func someForms() map[string]engineForm {
	if os.Getenv("BRAMBLE_FULL") == "1" {
		return engineForms
	}
	return map[string]engineForm{"block and head": engineForms["block and head"]}
}

func TestScriptsOnEngine(t *testing.T) {
	for name, form := range engineForms {
		t.Run(name, func(t *testing.T) {
			RunScripts(t, name, func(b *store.Batch) store.View { return engineView(t, b, form) })
		})
	}
}

func TestRandomQueriesOnEngine(t *testing.T) {
	for seed := range rounds(1) {
		g := generator{rand.New(rand.NewPCG(uint64(seed), 2))}
		b := g.traces(10)
		// Siblings are numbered in the order of rows: blocks order them by start.
		slices.SortStableFunc(b.Spans, func(x, y store.Span) int { return int(int64(x.StartNano) - int64(y.StartNano)) })
		views := map[string]store.View{}
		for name, form := range engineForms {
			views[name] = engineView(t, b, form)
		}
		for range 60 {
			query := g.pipeline()
			q, err := traceql.Parse(query)
			if err != nil {
				continue
			}
			want := naiveLines(b, q.Pipeline)
			for name, v := range views {
				if got := engineLines(t, v, query); !slices.Equal(got, want) {
					t.Fatalf("seed %d, %s: %s\n%s\ngot:\n%s\nwant:\n%s", seed, name, query, explain(query), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}
