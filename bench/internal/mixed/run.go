package mixed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// Options say what to run.
type Options struct {
	OTLP  string // host:port of OTLP over gRPC.
	Query string // host:port of the query API.
	// Clients ask one question after another and wait Think between them.
	Clients int
	Think   time.Duration
	// Rate is spans a second.
	Rate     int
	Duration time.Duration
}

// Report is what came of it.
type Report struct {
	Spans   int64 // Acknowledged.
	Elapsed time.Duration
	Kinds   []Kind
	// Wrong holds the first errors; Failures counts all: requests that failed and answers that were wrong.
	Wrong    []error
	Failures int
}

// Kind is the latencies of one kind of question.
type Kind struct {
	Name          string
	Asked         int
	P50, P99, Max time.Duration
}

// Run asks and sends for the duration. The error is one of the sender or the set-up; wrong answers are in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	conn, err := load.Dial(o.OTLP)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	s := &sender{rate: o.Rate, conn: conn, services: map[string]bool{}}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	r := &recorder{took: map[string][]time.Duration{}}
	var wg sync.WaitGroup
	var sendErr error
	wg.Go(func() {
		if sendErr = s.run(ctx); sendErr != nil {
			cancel()
		}
	})
	tr := &http.Transport{MaxIdleConnsPerHost: o.Clients}
	defer tr.CloseIdleConnections()
	queries, err := load.DialPlain(o.Query)
	if err != nil {
		return nil, err
	}
	defer queries.Close()
	for i := range o.Clients {
		c := &client{
			base: "http://" + o.Query, user: fmt.Sprintf("user-%d", i), http: &http.Client{Transport: tr, Timeout: time.Minute},
			stream: tempopb.NewStreamingQuerierClient(queries), sender: s, begin: begin, rng: rand.New(rand.NewPCG(1, uint64(i))),
		}
		wg.Go(func() { c.run(ctx, o.Think, r) })
	}
	wg.Wait()
	if sendErr != nil {
		return nil, sendErr
	}
	return r.report(s.acked.Load(), time.Since(begin)), nil
}

// run asks until ctx ends. A question that was begun is answered: ending it would look like a failure.
func (c *client) run(ctx context.Context, think time.Duration, r *recorder) {
	for ctx.Err() == nil {
		k := checks[c.rng.IntN(len(checks))]
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		t := time.Now()
		err := k.ask(c, one)
		cancel()
		if !errors.Is(err, errNothingYet) {
			r.add(k.name, time.Since(t), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(think/2 + time.Duration(c.rng.Int64N(int64(think)+1))):
		}
	}
}

// recorder collects latencies and errors.
type recorder struct {
	mu       sync.Mutex
	took     map[string][]time.Duration
	wrong    []error
	failures int
}

func (r *recorder) add(kind string, d time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took[kind] = append(r.took[kind], d)
	if err != nil {
		if r.failures++; len(r.wrong) < 10 {
			r.wrong = append(r.wrong, fmt.Errorf("%s: %w", kind, err))
		}
	}
}

func (r *recorder) report(spans int64, elapsed time.Duration) *Report {
	out := &Report{Spans: spans, Elapsed: elapsed, Wrong: r.wrong, Failures: r.failures}
	var all []time.Duration
	for _, k := range checks {
		out.Kinds = append(out.Kinds, kindOf(k.name, r.took[k.name]))
		all = append(all, r.took[k.name]...)
	}
	out.Kinds = append(out.Kinds, kindOf("all", all))
	return out
}

func kindOf(name string, took []time.Duration) Kind {
	k := Kind{Name: name, Asked: len(took)}
	if len(took) > 0 {
		slices.Sort(took)
		k.P50, k.P99, k.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	return k
}

// Print writes the report as a table.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%d spans acknowledged in %.0f s: %.0f a second; %d wrong or failed\n", r.Spans, r.Elapsed.Seconds(), float64(r.Spans)/r.Elapsed.Seconds(), r.Failures)
	fmt.Fprintf(w, "%-26s %8s %9s %9s %9s\n", "question", "asked", "p50 ms", "p99 ms", "max ms")
	for _, k := range r.Kinds {
		fmt.Fprintf(w, "%-26s %8d %9.1f %9.1f %9.1f\n", k.Name, k.Asked, ms(k.P50), ms(k.P99), ms(k.Max))
	}
	for _, err := range r.Wrong {
		fmt.Fprintln(w, "WRONG:", err)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
