package traceqltest

import (
	"context"
	"math/rand/v2"
	"os"
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
		if err := db.Close(context.WithoutCancel(tb.Context())); err != nil {
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
}

var engineForms = map[string]engineForm{
	"head":              {1, func(int) bool { return false }},
	"block":             {1, func(int) bool { return true }},
	"block and head":    {2, func(i int) bool { return i == 0 }},
	"several, and head": {4, func(i int) bool { return i < 3 }},
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
			RunScripts(t, name, func(b *store.Batch) store.View { return engineView(t, b, form.portions, form.cut) })
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
					t.Fatalf("seed %d, %s: %s\n%s\ngot:\n%s\nwant:\n%s", seed, name, query, explain(query), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}
