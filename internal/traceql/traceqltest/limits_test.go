package traceqltest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

func workload(n int) *store.Batch {
	g := testkit.NewGenerator(7)
	g.SetTime(time.Unix(0, Epoch))
	return g.Batch(n)
}

func compileAll(t testing.TB, queries ...string) []*plan.Query {
	t.Helper()
	var out []*plan.Query
	for _, q := range queries {
		p, err := traceql.Compile(q)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		out = append(out, p)
	}
	return out
}

// TestNewestFirst compares searches with a limit with the beginning of the same search without one (S-21): what is
// skipped because of the limit must not be missed.
func TestNewestFirst(t *testing.T) {
	b := workload(10_000)
	for name, form := range someForms() {
		v := engineView(t, b, form)
		for _, q := range compileAll(t, `{ }`, `{ status = error }`, `{ kind = server } >> { kind = client }`, `{ } | count() > 30`, `{ nestedSetParent < 0 }`) {
			all, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(all.Traces, func(a, b exec.TraceRow) int { return int(int64(b.StartNano) - int64(a.StartNano)) }) {
				t.Errorf("%s: %s: not sorted by start", name, q.AST)
			}
			for _, limit := range []int{1, 20, 300} {
				some, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: limit})
				if err != nil {
					t.Fatal(err)
				}
				want := all.Traces[:min(limit, len(all.Traces))]
				if !reflect.DeepEqual(some.Traces, want) {
					t.Errorf("%s: %s: the %d newest differ from the first of all %d", name, q.AST, limit, len(all.Traces))
				}
			}
		}
	}
}

// TestWindow checks that a search finds the traces that overlap the range and no others (S-07), whole (E-01).
func TestWindow(t *testing.T) {
	b := workload(6_000)
	type hull struct{ start, end uint64 }
	hulls := map[spanid.TraceID]hull{}
	for i := range b.Spans {
		s := &b.Spans[i]
		h, ok := hulls[s.TraceID]
		if !ok {
			h.start = s.StartNano
		}
		hulls[s.TraceID] = hull{min(h.start, s.StartNano), max(h.end, s.EndNano, s.StartNano)}
	}
	q := compileAll(t, `{ } | count() > 0`)[0]
	for name, form := range someForms() {
		v := engineView(t, b, form)
		from, to := Epoch+int64(2*time.Second), Epoch+int64(5*time.Second)
		res, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 1 << 20, Start: from, End: to})
		if err != nil {
			t.Fatal(err)
		}
		found := map[spanid.TraceID]bool{}
		for _, tr := range res.Traces {
			found[tr.ID] = true
		}
		for id, h := range hulls {
			if want := int64(h.start) <= to && int64(h.end) >= from; found[id] != want {
				t.Errorf("%s: trace %s from %d to %d: found %v, want %v", name, id, int64(h.start)-Epoch, int64(h.end)-Epoch, found[id], want)
			}
		}
		if len(found) == 0 || len(found) == len(hulls) {
			t.Errorf("%s: the window is no test: %d of %d traces", name, len(found), len(hulls))
		}
	}
}

// TestCancel checks that a query ends soon after its context, with the context's cause.
func TestCancel(t *testing.T) {
	v := engineView(t, workload(9_000), engineForms["block"])
	cause := errors.New("the client went away")
	for _, q := range compileAll(t, `{ } | count() > 1000`, `{ span.url.path =~ ".*x.*y.*z" }`, `{ } >> { } | rate() by(name)`, `{ } | compare({ status = error })`) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err := exec.Search(ctx, v, q, exec.SearchOptions{})
		if !errors.Is(err, cause) {
			t.Errorf("%s: error %v, want the cause", q.AST, err)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		began := make(chan time.Time, 1)
		time.AfterFunc(5*time.Millisecond, func() {
			began <- time.Now()
			cancel(cause)
		})
		for err = nil; err == nil; {
			if len(q.Metrics) > 0 {
				_, err = exec.Metrics(ctx, v, q, exec.MetricsOptions{Start: Epoch, End: Epoch + int64(time.Hour), Step: time.Minute})
			} else {
				_, err = exec.Search(ctx, v, q, exec.SearchOptions{})
			}
		}
		took := time.Since(<-began)
		t.Logf("%s: ended %s after its context", q.AST, took)
		if took > 2*time.Second { // 50 ms on an idle machine; BenchmarkCancel measures it.
			t.Errorf("%s: ended %s after its context", q.AST, took)
		}
		if !errors.Is(err, cause) {
			t.Errorf("%s: error %v, want the cause", q.AST, err)
		}
	}
}

// TestBudget runs queries that want too much memory: they end with an error that says so, and give everything back.
func TestBudget(t *testing.T) {
	v := engineView(t, workload(9_000), engineForms["block"])
	alternatives := make([]string, 10_000)
	for i := range alternatives {
		alternatives[i] = `.a="x"`
	}
	for _, tc := range []struct {
		query string
		small bool // Small enough for any budget.
	}{
		{`{ } | rate() by(span:id)`, false},
		{`{ } | rate() by(trace:id, span:id)`, false},
		{`{ } | compare({ status = error })`, false},
		{`{ } >> { } | by(span:id) | count() > 0`, false},
		{`{ ` + strings.Join(alternatives, "||") + ` }`, true},
		{`{ span.never =~ "((a*)*)*b" }`, true},
		{`{ ` + strings.Repeat("(", 200) + `span.never` + strings.Repeat(")", 200) + ` }`, true},
	} {
		q := compileAll(t, tc.query)[0]
		budget := memlimit.New("query", 1<<20)
		var err error
		if len(q.Metrics) > 0 {
			_, err = exec.Metrics(t.Context(), v, q, exec.MetricsOptions{Start: Epoch, End: Epoch + int64(time.Hour), Step: 10 * time.Second, Budget: budget})
		} else {
			_, err = exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 100_000, Budget: budget})
		}
		switch {
		case tc.small && err != nil:
			t.Errorf("%.60s: %v", tc.query, err)
		case !tc.small && !errors.Is(err, exec.ErrBudget):
			t.Errorf("%.60s: error %v, want one about the budget", tc.query, err)
		}
		if u := budget.Usage(); u.Used != 0 || u.Peak > u.Limit {
			t.Errorf("%.60s: %d bytes kept, peak %d of %d", tc.query, u.Used, u.Peak, u.Limit)
		}
	}
}

// TestPartialsMerge splits spans by trace over several stores, as federation does, and compares with one store.
func TestPartialsMerge(t *testing.T) {
	b := workload(3_000)
	o := exec.MetricsOptions{Start: Epoch, End: Epoch + int64(time.Minute), Step: 5 * time.Second, Exemplars: -1}
	for _, q := range compileAll(t,
		`{ } | rate() by(resource.service.name)`, `{ } | avg_over_time(duration) by(kind) | topk(2)`, `{ } | min_over_time(duration)`,
		`{ } | max_over_time(duration)`, `{ } | quantile_over_time(duration, .5, .99)`, `{ } | histogram_over_time(duration) by(status)`,
		`{ kind = server } >> { kind = client } | count_over_time()`, `({ status = error } | rate()) / ({ } | rate())`,
		`{ } | compare({ status = error }, 3)`,
	) {
		whole, err := exec.Metrics(t.Context(), oracleView(t, b, 0), q, o)
		if err != nil {
			t.Fatal(err)
		}
		var merged *exec.Partial
		for _, s := range shards(b) {
			one, err := exec.MetricsPartial(t.Context(), oracleView(t, s, 0), q, o)
			if err != nil {
				t.Fatal(err)
			}
			sent, _ := one.MarshalBinary()
			p := &exec.Partial{}
			if err := p.UnmarshalBinary(sent); err != nil {
				t.Fatal(err)
			}
			if merged == nil {
				merged = p
			} else if err := merged.Merge(p); err != nil {
				t.Fatal(err)
			}
		}
		got := exec.Finish(q, merged, 0, 0)
		want, err1 := metricsLines(whole, &o)
		have, err2 := metricsLines(got, &o)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 || !slices.Equal(have, want) {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", q.AST, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
	other, err := exec.MetricsPartial(t.Context(), oracleView(t, b, 0), compileAll(t, `{ } | rate()`)[0], exec.MetricsOptions{Start: Epoch, End: Epoch + 1e9, Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&exec.Partial{}).Merge(other); err == nil {
		t.Error("partial results of different ranges are merged")
	}
}

func TestDefaultStep(t *testing.T) { // Contract 6.4.
	for r, want := range map[time.Duration]time.Duration{
		10 * time.Second: 50 * time.Millisecond, 30 * time.Second: 100 * time.Millisecond, time.Minute: time.Second,
		5 * time.Minute: time.Second, 15 * time.Minute: 3 * time.Second, time.Hour: 15 * time.Second,
		6 * time.Hour: time.Minute, 24 * time.Hour: 5 * time.Minute, 7 * 24 * time.Hour: 40 * time.Minute,
	} {
		if got := exec.DefaultStep(r); got != want {
			t.Errorf("DefaultStep(%s) = %s, want %s", r, got, want)
		}
	}
}

func TestTimeline(t *testing.T) { // the example of the contract, in seconds.
	const at = int64(1_700_000_522)
	tl, err := exec.NewTimeline(at*1e9, (at+130)*1e9, 30*time.Second, false)
	if err != nil || tl.N != 6 || tl.Start != (at-2-30)*1e9 {
		t.Errorf("timeline %+v, %v", tl, err)
	}
	for _, bad := range []struct{ start, end, step int64 }{{10, 5, 1}, {0, 10, 0}, {0, 10, -1}, {0, 1e18, 1}} {
		if _, err := exec.NewTimeline(bad.start, bad.end, time.Duration(bad.step), false); err == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
}

func TestExemplars(t *testing.T) { // E-82.
	v := engineView(t, workload(6_000), engineForms["block and head"])
	for _, tc := range []struct {
		query   string
		request int
		most    int
		least   int
	}{
		{`{ } | rate() by(resource.service.name)`, 0, 100, 20},
		{`{ } | rate()`, 5, 5, 5},
		{`{ } | rate()`, 1000, 100, 5},
		{`{ } | rate()`, -1, 0, 0},
		{`{ } | rate() with(exemplars=false)`, 10, 0, 0},
		{`{ } | rate() with(exemplars=3)`, 10, 3, 3},
		{`{ } | quantile_over_time(duration, .5, .9)`, 10, 10, 5},
		{`{ } | histogram_over_time(duration)`, 10, 10, 1},
		{`{ status = error } | max_over_time(duration)`, 10, 10, 5},
		{`{ kind = server } >> { kind = client } | rate()`, 10, 10, 5},
	} {
		q := compileAll(t, tc.query)[0]
		res, err := exec.Metrics(t.Context(), v, q, exec.MetricsOptions{Start: Epoch, End: Epoch + int64(time.Minute), Step: time.Second, Exemplars: tc.request})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range res.Series {
			n += len(s.Exemplars)
			if !slices.IsSortedFunc(s.Exemplars, func(a, b exec.Exemplar) int { return int(a.Millis - b.Millis) }) {
				t.Errorf("%s: exemplars are not in the order of time", tc.query)
			}
		}
		if n > tc.most || n < tc.least {
			t.Errorf("%s with %d: %d exemplars, want %d to %d", tc.query, tc.request, n, tc.least, tc.most)
		}
		checkExemplars(t, res, &recordedCase{ID: tc.query})
	}
}

func TestEstimate(t *testing.T) {
	b := workload(1_000)
	v := oracleView(t, b, 100)
	q := compileAll(t, `{ }`, `{ 1 = 2 }`)
	all, err := exec.Estimate(t.Context(), v, q[0], 0, 0)
	if err != nil || all.Rows != int64(len(b.Spans)) || all.Parts != len(v.Parts()) || all.Bytes == 0 {
		t.Errorf("%+v, %v: want all %d rows", all, err, len(b.Spans))
	}
	none, err := exec.Estimate(t.Context(), v, q[1], 0, 0)
	if err != nil || none != (exec.Cost{}) {
		t.Errorf("%+v, %v: a query that is never true costs nothing", none, err)
	}
}
