package traceqltest

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

const benchQuery = `{ resource.service.name = "checkout" && span.http.response.status_code >= 500 } >> { status = error } | by(name) | count() > 1 | select(span.user.id)`

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(benchQuery)))
	for b.Loop() {
		if _, err := traceql.Parse(benchQuery); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	q, err := traceql.Parse(benchQuery)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := plan.New(q); err != nil {
			b.Fatal(err)
		}
	}
}

// benchSpans is the size of the benchmarks' store; BRAMBLE_BENCH_SPANS overrides it.
func benchSpans() int {
	if n, err := strconv.Atoi(os.Getenv("BRAMBLE_BENCH_SPANS")); err == nil {
		return n
	}
	return 100_000
}

// benchView fills a store with the reference workload, in blocks of up to 300,000 spans and a head. With
// BRAMBLE_BENCH_DIR it is kept there, to be used again, and has the options of a store as it is shipped.
func benchView(b *testing.B) store.View {
	b.Helper()
	if dir := os.Getenv("BRAMBLE_BENCH_DIR"); dir != "" {
		return keptView(b, dir)
	}
	g := testkit.NewGenerator(1)
	g.SetTime(time.Unix(0, Epoch))
	db := engine(b)
	n, cut := benchSpans(), 0
	for have := 0; have < n; {
		batch := g.Batch(400)
		if err := db.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		have += len(batch.Spans)
		if cut += len(batch.Spans); cut > 300_000 || have > n*9/10 && cut > n/10 && n < 1_000_000 {
			if err := db.Cut(); err != nil {
				b.Fatal(err)
			}
			awaitBlocks(b, db)
			cut = 0
		}
	}
	v, err := db.View()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Release)
	return v
}

// keptView opens the store in dir and fills it first if it is empty.
func keptView(b *testing.B, dir string) store.View {
	b.Helper()
	db, err := tracedb.Open(b.Context(), tracedb.Options{Dir: dir, MemoryBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	v, err := db.View()
	if err != nil {
		b.Fatal(err)
	}
	if len(v.Parts()) == 0 {
		v.Release()
		g := testkit.NewGenerator(1)
		n := benchSpans()
		g.SetTime(time.Now().Add(-time.Duration(float64(n) / 21.3 / 50 * float64(time.Second))))
		for have := 0; have < n; {
			batch := g.Batch(1000)
			if err := db.Append(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			have += len(batch.Spans)
		}
		awaitBlocks(b, db)
		if v, err = db.View(); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(v.Release)
	return v
}

func BenchmarkSearch(b *testing.B) {
	v := benchView(b)
	for _, bc := range []struct{ name, query string }{
		{"all", `{ }`},
		{"service", `{ resource.service.name = "checkout" }`},
		{"service and 5xx", `{ resource.service.name = "checkout" && span.http.response.status_code >= 500 }`},
		{"error", `{ status = error }`},
		{"slow", `{ duration > 1s }`},
		{"needle", `{ span.app.order.id = "no such order" }`},
		{"descendant", `{ resource.service.name = "frontend" } >> { status = error }`},
		{"descendant in a service", `{ resource.service.name = "checkout" } >> { resource.service.name = "audit" }`},
		{"error below a server", `{ kind = server } >> { status = error }`},
		{"errors of a trace", `{ status = error } | count() > 2`},
		{"count", `{ } | count() > 40`},
		{"count never", `{ } | count() > 1000`},
		{"regex", `{ span.url.path =~ ".*/nowhere/.*" }`},
		{"regex on a URL", `{ span.url.full =~ ".*/internal/00.*order=ord-1.*" }`},
		{"roots", `{ nestedSetParent < 0 && status = error }`},
	} {
		q, err := traceql.Compile(bc.query)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bc.name, func(b *testing.B) {
			found := 0
			cpu := cpuTime()
			for b.Loop() {
				res, err := exec.Search(b.Context(), v, q, exec.SearchOptions{})
				if err != nil {
					b.Fatal(err)
				}
				found = len(res.Traces)
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(found), "traces")
		})
	}
}

func BenchmarkMetrics(b *testing.B) {
	v := benchView(b)
	first, last := startsOf(v)
	for _, bc := range []struct {
		name, query string
		step        time.Duration
	}{
		{"rate", `{ } | rate()`, time.Minute},
		{"rate by service", `{ } | rate() by(resource.service.name)`, time.Minute},
		{"quantiles by route", `{ } | quantile_over_time(duration, .5, .95, .99) by(span.http.route)`, time.Minute},
		{"roots", `{ nestedSetParent < 0 && true } | rate()`, time.Minute},
		{"errors by two", `{ status = error } | count_over_time() by(resource.service.name, name)`, time.Minute},
		{"structure", `{ resource.service.name = "frontend" } >> { status = error } | rate()`, time.Minute},
		{"compare errors", `{ } | compare({ status = error })`, 10 * time.Minute},
		{"compare errors by minute", `{ } | compare({ status = error })`, time.Minute},
		{"compare slow", `{ } | compare({ duration > 1s })`, 10 * time.Minute},
		{"compare slow payments", `{ } | compare({ resource.service.name = "payment" && duration > 1s })`, 10 * time.Minute},
		{"compare 503", `{ } | compare({ span.http.response.status_code = 503 })`, 10 * time.Minute},
	} {
		q, err := traceql.Compile(bc.query)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bc.name, func(b *testing.B) {
			series := 0
			for b.Loop() {
				res, err := exec.Metrics(b.Context(), v, q, exec.MetricsOptions{Start: first, End: last, Step: bc.step})
				if err != nil {
					b.Fatal(err)
				}
				series = len(res.Series)
			}
			b.ReportMetric(float64(series), "series")
		})
	}
}

func BenchmarkTags(b *testing.B) {
	v := benchView(b)
	b.Run("names", func(b *testing.B) {
		for b.Loop() {
			if _, err := exec.TagNames(b.Context(), v, "", exec.TagOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, a := range map[string]ast.Attr{
		"service": ast.ServiceName, "name": ast.IntrinsicAttr(ast.Name), "route": {Scope: ast.ScopeSpan, Name: "http.route"},
	} {
		b.Run("values of "+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := exec.TagValues(b.Context(), v, a, exec.TagOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCancel reports how long queries run on after their context has ended: the most of all rounds, in milliseconds.
func BenchmarkCancel(b *testing.B) {
	v := benchView(b)
	first, last := startsOf(v)
	for _, bc := range []struct{ name, query string }{
		{"count never", `{ } | count() > 1000`},
		{"structure", `{ } >> { } | count() > 1000`},
		{"regex", "{ span.url.full =~ `(.*a.*b.*c)+x` }"},
		{"rate", `{ } >> { } | rate() by(name)`},
		{"quantiles", `{ } | quantile_over_time(duration, .5) by(span.http.route, name)`},
		{"compare", `{ } | compare({ status = error })`},
	} {
		q, err := traceql.Compile(bc.query)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bc.name, func(b *testing.B) {
			var most time.Duration
			for round := range b.N {
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan time.Time, 1)
				timer := time.AfterFunc(time.Duration(1+round%50)*time.Millisecond, func() {
					ended <- time.Now()
					cancel()
				})
				if len(q.Metrics) > 0 {
					_, err = exec.Metrics(ctx, v, q, exec.MetricsOptions{Start: first, End: last, Step: time.Minute})
				} else {
					_, err = exec.Search(ctx, v, q, exec.SearchOptions{})
				}
				if done := time.Now(); err != nil {
					most = max(most, done.Sub(<-ended))
				}
				timer.Stop()
				cancel()
			}
			b.ReportMetric(float64(most)/1e6, "ms-after-cancel")
		})
	}
}

// startsOf returns the first and the last start of a span.
func startsOf(v store.View) (first, last int64) {
	for i, p := range v.Parts() {
		info := p.Info()
		if lo := int64(info.MinStartNano); i == 0 || lo < first { //nolint:gosec // Times of the generator.
			first = lo
		}
		last = max(last, int64(info.MaxStartNano)) //nolint:gosec // As above.
	}
	return first, last
}
