package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/bench/internal/target"
)

// options are the flags.
type options struct {
	bin, config, endpoint, query string
	spans, rounds                int
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/bramble", "binary to measure")
	flag.StringVar(&o.config, "config", "bench/store-only.yaml", "its configuration")
	flag.StringVar(&o.endpoint, "endpoint", "localhost:4317", "OTLP/gRPC endpoint of the configuration")
	flag.StringVar(&o.query, "query", "http://localhost:3200", "query endpoint")
	flag.IntVar(&o.spans, "spans", 2_000_000, "spans to store")
	flag.IntVar(&o.rounds, "rounds", 10, "times each query is asked")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "bramble-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tr := newTruth()
	begin := time.Now()
	requests, err := load.Encode(o.spans, 1000, tr.see)
	if err != nil {
		return err
	}
	srv, err := target.Start(o.bin, o.config, o.endpoint, dir)
	if err != nil {
		return err
	}
	defer func() { _ = srv.Stop() }()
	last := requests[len(requests)/2].Trace
	if err := fill(o.endpoint, requests); err != nil {
		return err
	}
	_, waited := srv.Settle(2 * time.Minute)
	fmt.Printf("%d spans in %d traces stored; settled after %.0f s\n", tr.spans, tr.traces, waited.Seconds())
	fmt.Printf("%-28s %9s %9s %9s %10s %10s\n", "query", "p50 ms", "p99 ms", "CPU ms", "hits", "truth")
	window := window{start: begin.Add(-6 * time.Hour).Unix(), end: time.Now().Add(time.Minute).Unix()}
	wrong := 0
	for _, q := range table(tr, last) {
		ok, err := ask(srv, o, q, window)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		if !ok {
			wrong++
		}
	}
	u, err := srv.Usage()
	if err != nil {
		return err
	}
	fmt.Printf("peak resident %d MiB\n", u.Peak>>20)
	if wrong > 0 {
		return fmt.Errorf("%d queries did not give the true number of hits", wrong)
	}
	return srv.Stop()
}

// fill sends all requests with four workers.
func fill(endpoint string, requests []load.Request) error {
	conn, err := load.Dial(endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	var next atomic.Int64
	var wg sync.WaitGroup
	var fail atomic.Pointer[error]
	for range 4 {
		wg.Go(func() {
			for fail.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(requests) {
					return
				}
				if err := load.Export(conn, requests[i].Body); err != nil {
					fail.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := fail.Load(); err != nil {
		return *err
	}
	return nil
}

// window is the time range of every query, in Unix seconds.
type window struct{ start, end int64 }

// ask runs one query o.rounds times and prints its line. It reports whether every answer had the true number of hits.
func ask(srv *target.Server, o options, q query, w window) (bool, error) {
	params := url.Values{}
	for k, v := range q.params {
		params.Set(k, v)
	}
	if !q.untimed {
		params.Set("start", strconv.FormatInt(w.start, 10))
		params.Set("end", strconv.FormatInt(w.end, 10))
	}
	target := o.query + q.path
	if len(params) > 0 {
		target += "?" + params.Encode()
	}
	before, err := srv.Usage()
	if err != nil {
		return false, err
	}
	var took []time.Duration
	hits := -1
	for range o.rounds {
		t := time.Now()
		resp, err := http.Get(target) //nolint:noctx // The benchmark ends with its process.
		if err != nil {
			return false, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return false, err
		}
		took = append(took, time.Since(t))
		if resp.StatusCode != http.StatusOK {
			return false, fmt.Errorf("%s: %s", resp.Status, body)
		}
		n, err := q.count(body)
		if err != nil {
			return false, err
		}
		if hits >= 0 && n != hits {
			return false, fmt.Errorf("%d hits, then %d", hits, n)
		}
		hits = n
	}
	after, err := srv.Usage()
	if err != nil {
		return false, err
	}
	slices.Sort(took)
	mark := ""
	if hits != q.truth {
		mark = "  WRONG"
	}
	fmt.Printf("%-28s %9.1f %9.1f %9.1f %10d %10d%s\n", q.name, ms(took[len(took)/2]), ms(took[len(took)-1]),
		ms((after.CPU-before.CPU)/time.Duration(o.rounds)), hits, q.truth, mark)
	return hits == q.truth, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// countField returns a counter of the elements of a list in the answer.
func countField(name string) func([]byte) (int, error) {
	return func(body []byte) (int, error) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(body, &m); err != nil {
			return 0, err
		}
		var list []json.RawMessage
		if err := json.Unmarshal(m[name], &list); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		return len(list), nil
	}
}

// sumSamples adds up all samples of a range query, rounded.
func sumSamples(body []byte) (int, error) {
	var answer struct {
		Series []struct {
			Samples []struct{ Value float64 }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, err
	}
	var sum float64
	for _, s := range answer.Series {
		for _, p := range s.Samples {
			sum += p.Value
		}
	}
	return int(sum + .5), nil
}

// countSeries returns the number of series of an answer.
func countSeries(body []byte) (int, error) { return countField("series")(body) }

// countTags returns the number of tag names of all scopes.
func countTags(body []byte) (int, error) {
	var answer struct {
		Scopes []struct{ Tags []string }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, err
	}
	n := 0
	for _, s := range answer.Scopes {
		n += len(s.Tags)
	}
	return n, nil
}
