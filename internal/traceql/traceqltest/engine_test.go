package traceqltest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/internal/traceql"
)

// engine opens the real store without retention, far from any automatic cut.
func engine(tb testing.TB) *tracedb.DB {
	tb.Helper()
	opts := tracedb.Options{Dir: tb.TempDir(), Clock: func() time.Time { return time.Unix(0, Epoch).Add(time.Minute) }}
	opts.WAL.Sync = tracedb.SyncOff
	opts.Cut = tracedb.CutOptions{Age: time.Hour, Spans: 10_000_000, Bytes: 1 << 40}
	opts.MemoryBytes = 4 << 30
	db, err := tracedb.Open(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(tb.Context()); err != nil {
			tb.Log(err)
		}
	})
	return db
}

// engineView appends the spans in portions and cuts the head after those portions for which cut is true, then waits
// until what was cut is in blocks.
func engineView(tb testing.TB, b *store.Batch, portions int, cut func(i int) bool) store.View {
	tb.Helper()
	db := engine(tb)
	for i := range portions {
		lo, hi := len(b.Spans)*i/portions, len(b.Spans)*(i+1)/portions
		part := &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: b.Spans[lo:hi]}
		if len(part.Spans) > 0 {
			if err := db.Append(tb.Context(), part); err != nil {
				tb.Fatal(err)
			}
		}
		if cut(i) {
			if err := db.Cut(); err != nil {
				tb.Fatal(err)
			}
			awaitBlocks(tb, db)
		}
	}
	v, err := db.View()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Release)
	return v
}

// awaitBlocks waits until no frozen head is left.
func awaitBlocks(tb testing.TB, db *tracedb.DB) {
	tb.Helper()
	for {
		v, err := db.View()
		if err != nil {
			tb.Fatal(err)
		}
		frozen := slices.ContainsFunc(v.Parts(), func(p store.Part) bool { return p.Info().Kind == store.KindFrozen })
		v.Release()
		if !frozen {
			return
		}
		select {
		case <-tb.Context().Done():
			tb.Fatal("the cut head did not become a block")
		case <-time.After(time.Millisecond):
		}
	}
}

var engineForms = map[string]struct {
	portions int
	cut      func(i int) bool
}{
	"head":              {1, func(int) bool { return false }},
	"block":             {1, func(int) bool { return true }},
	"block and head":    {2, func(i int) bool { return i == 0 }},
	"several, and head": {4, func(i int) bool { return i < 3 }},
}

func TestScriptsOnEngine(t *testing.T) {
	for name, form := range engineForms {
		t.Run(name, func(t *testing.T) {
			RunScripts(t, name, func(b *store.Batch) store.View { return engineView(t, b, form.portions, form.cut) })
		})
	}
}

func TestRandomQueriesOnEngine(t *testing.T) {
	for seed := range rounds(2) {
		g := generator{rand.New(rand.NewPCG(uint64(seed), 2))}
		b := g.traces(10)
		// Siblings are numbered in the order of rows: blocks order them by start.
		slices.SortStableFunc(b.Spans, func(x, y store.Span) int { return int(int64(x.StartNano) - int64(y.StartNano)) })
		views := map[string]store.View{}
		for name, form := range engineForms {
			views[name] = engineView(t, b, form.portions, form.cut)
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
					t.Fatalf("seed %d, %s: %s\n%s\ngot:\n%s\nwant:\n%s", seed, name, query, fmt.Sprint(explain(query)), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}
