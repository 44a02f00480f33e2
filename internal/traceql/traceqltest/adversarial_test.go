package traceqltest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// adversarial are queries that ask for more than anybody should get.
func adversarial() map[string]string {
	alternatives, words := make([]string, 10_000), make([]string, 10_000)
	for i := range alternatives {
		alternatives[i] = fmt.Sprintf(".a%d=%d", i%500, i)
		words[i] = fmt.Sprintf("w%dx", i)
	}
	return map[string]string{
		"huge regex":           "{ span.url.full =~ `.*(" + strings.Join(words, "|") + ")` }",
		"regex of repetitions": "{ name =~ `((((a{0,9}){0,9}){0,9})*b?)*` }",
		"10,000-way OR":        "{ " + strings.Join(alternatives, "||") + " }",
		"deep brackets":        "{ " + strings.Repeat("(", 5_000) + "true" + strings.Repeat(")", 5_000) + " }",
		"deep pipelines":       strings.Repeat("({ } | ", 1_000) + "{ }" + strings.Repeat(")", 1_000),
		"long chain":           strings.Repeat("{ } >> ", 300) + "{ }",
		"groups of one":        `{ } | by(span:id) | count() > 0`,
		"all spans selected":   `{ } | select(name, span.url.full, span.http.route, resource.service.name, span.shop.order.id, status, kind, duration)`,
		"series per span":      `{ } | rate() by(span:id)`,
		"series per span pair": `{ } | max_over_time(duration) by(trace:id, span:id, name)`,
		"quantiles per trace":  `{ } | quantile_over_time(duration, .1, .2, .3, .4, .5, .6, .7, .8, .9) by(trace:id)`,
		"compare everything":   `{ } | compare({ status = error }, 1000000)`,
		"compare in structure": `{ } >> { } | compare({ rootName = "x" })`,
		"product of series":    `({ } | rate() by(span:id)) * ({ } | rate() by(span:id))`,
	}
}

// liveHeap is what the objects on the heap take, garbage that is not collected yet included.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()) //nolint:gosec // A heap is smaller.
}

// watchHeap samples the heap until the returned function is called, which returns the most that it saw.
func watchHeap() (stop func() int64) {
	var most atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), liveHeap()))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		<-ended
		return most.Load()
	}
}

// runQuery runs a compiled query with a budget, asking for as much as the API allows.
func runQuery(ctx context.Context, v store.View, q *plan.Query, budget *memlimit.Budget) error {
	if len(q.Metrics) > 0 {
		_, err := exec.Metrics(ctx, v, q, exec.MetricsOptions{Start: Epoch, End: Epoch + int64(time.Hour), Step: 15 * time.Second, Budget: budget})
		return err
	}
	_, err := exec.Search(ctx, v, q, exec.SearchOptions{Limit: 100_000, SpansPerSpanSet: 100_000, Budget: budget})
	return err
}

// TestAdversarialQueries asks them one after the other while spans arrive. Each ends with an answer, or with an error that
// says what is wrong or that the budget is spent; the heap grows by little more than the budget; appends go on.
func TestAdversarialQueries(t *testing.T) {
	const budgetBytes, slack = 24 << 20, 48 << 20
	db := engine(t)
	g := testkit.NewGenerator(3)
	g.SetTime(time.Unix(0, Epoch))
	for range 40 {
		if err := db.Append(t.Context(), g.Batch(1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Cut(); err != nil {
		t.Fatal(err)
	}
	awaitBlocks(t, db)

	ctx, cancel := context.WithCancel(t.Context())
	var appended atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	small := g.Batch(50)
	wg.Go(func() {
		for ctx.Err() == nil && appended.Load() < 2_000 { // Bounded, so that the head does not blur what is measured.
			if err := db.Append(ctx, small); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			appended.Add(1)
			time.Sleep(5 * time.Millisecond)
		}
	})
	runtime.GC()
	base := liveHeap()
	// The collector works hard near the limit, so that what is seen above it is in use.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(base + budgetBytes + slack/2))
	for name, query := range adversarial() {
		q, err := traceql.Compile(query)
		if err != nil {
			if !strings.ContainsAny(err.Error(), "0123456789") || len(err.Error()) > 1000 {
				t.Errorf("%s: the error does not say what the limit is, or says too much: %.200s", name, err)
			}
			t.Logf("%-22s refused: %.100s", name, err)
			continue
		}
		v, err := db.View()
		if err != nil {
			t.Fatal(err)
		}
		budget := memlimit.New("query", budgetBytes)
		stop := watchHeap()
		begin, before := time.Now(), appended.Load()
		err = runQuery(t.Context(), v, q, budget)
		took, peak := time.Since(begin), stop()-base
		v.Release()
		if err != nil && !errors.Is(err, exec.ErrBudget) {
			t.Errorf("%s: %v, want an answer or an error about the budget", name, err)
		}
		u := budget.Usage()
		t.Logf("%-22s %8s, counted %3d MiB, heap +%3d MiB, %3d appends, %v", name, took.Round(time.Millisecond), u.Peak>>20, peak>>20, appended.Load()-before, err)
		if u.Used != 0 || u.Peak > budgetBytes {
			t.Errorf("%s: %d bytes kept, peak %d of %d", name, u.Used, u.Peak, budgetBytes)
		}
		if peak > budgetBytes+slack {
			t.Errorf("%s: the heap grew by %d MiB with a budget of %d MiB", name, peak>>20, budgetBytes>>20)
		}
		runtime.GC()
	}
	if appended.Load() == 0 {
		t.Error("nothing was appended meanwhile")
	}
}
