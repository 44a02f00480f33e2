package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/bench/internal/target"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// options are the flags.
type options struct {
	bin, config, endpoint, query string
	data, only                   string
	spans, rounds                int
	clients, rate                int
	think, duration              time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/bramble", "binary to measure")
	flag.StringVar(&o.config, "config", "bench/store-only.yaml", "its configuration")
	flag.StringVar(&o.endpoint, "endpoint", "localhost:4317", "OTLP/gRPC endpoint of the configuration")
	flag.StringVar(&o.query, "query", "http://localhost:3200", "query endpoint")
	flag.StringVar(&o.data, "data", "", "directory that keeps the spans, to be used again by the next run with it; a temporary one if empty")
	flag.StringVar(&o.only, "only", "", "ask only queries whose names match this expression")
	flag.IntVar(&o.spans, "spans", 2_000_000, "spans to store")
	flag.IntVar(&o.rounds, "rounds", 20, "times each query is asked")
	flag.IntVar(&o.clients, "clients", 0, "instead: so many clients ask while spans arrive, and every answer is checked")
	flag.IntVar(&o.rate, "rate", 20_000, "spans a second that arrive meanwhile")
	flag.DurationVar(&o.think, "think", 100*time.Millisecond, "what a client waits between questions")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if o.data == "" || o.clients > 0 {
		if o.data, err = os.MkdirTemp("", "bramble-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.data)
	}
	dir := filepath.Join(o.data, "store")
	if o.clients > 0 {
		return concurrent(o, dir)
	}
	known, err := readKnown(o.data)
	if err != nil {
		return err
	}
	srv, err := target.Start(o.bin, o.config, o.endpoint, dir)
	if err != nil {
		return err
	}
	defer func() { _ = srv.Stop() }()
	if known == nil {
		known = &knowledge{Begin: time.Now(), Truth: newTruth()}
		if known.Traces, err = fill(o, known.Truth); err != nil {
			return err
		}
		if err := known.write(o.data); err != nil {
			return err
		}
	}
	tr := known.Truth
	_, waited := srv.Settle(2 * time.Minute)
	fmt.Printf("%d spans in %d traces stored; settled after %.0f s\n", tr.Spans, tr.Traces, waited.Seconds())
	fmt.Printf("%-30s %9s %9s %9s %10s %10s %12s %8s\n", "query", "p50 ms", "p99 ms", "CPU ms", "hits", "truth", "Tempo CPU ms", "ratio")
	w := windows{
		all:  window{known.Begin.Add(-6 * time.Hour).Unix(), tr.Last.Add(time.Minute).Unix()},
		hour: window{tr.Last.Add(-time.Hour).Unix(), tr.Last.Unix()},
	}
	wrong := 0
	for _, q := range table(tr, known.Traces, dir) {
		if !only.MatchString(q.name) {
			continue
		}
		ok, err := ask(srv, o, &q, w)
		if err != nil { // The others are worth knowing all the same.
			fmt.Printf("%-30s FAILED: %v\n", q.name, err)
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
		return fmt.Errorf("%d queries failed or did not give the true number of hits", wrong)
	}
	return srv.Stop()
}

// fill makes and sends all requests, with four workers, and returns one trace of each.
func fill(o options, tr *truth) ([]spanid.TraceID, error) {
	conn, err := load.Dial(o.endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const workers = 4
	requests, failed := make(chan load.Request, workers), make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r := range requests {
				if err := load.Export(conn, r.Body); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var traces []spanid.TraceID
	err = load.Each(o.spans, 1000, tr.see, func(r load.Request) error {
		traces = append(traces, r.Trace)
		select {
		case requests <- r:
			return nil
		case err := <-failed:
			return err
		}
	})
	close(requests)
	wg.Wait()
	select {
	case sent := <-failed:
		err = errors.Join(err, sent)
	default:
	}
	return traces, err
}

// window is a time range in Unix seconds.
type window struct{ start, end int64 }

// windows are the ranges that queries are asked over.
type windows struct{ all, hour window }

// target returns the URL of the n-th round of a query.
func (q *query) target(o options, w windows, n int) string {
	params := url.Values{}
	for k, v := range q.params {
		params.Set(k, v)
	}
	in := w.all
	if q.lastHour {
		in = w.hour
	}
	if !q.untimed {
		params.Set("start", strconv.FormatInt(in.start, 10))
		params.Set("end", strconv.FormatInt(in.end, 10))
	}
	path := q.path
	if q.paths != nil {
		path = q.paths(n)
	}
	if len(params) == 0 {
		return o.query + path
	}
	return o.query + path + "?" + params.Encode()
}

// ask runs one query o.rounds times and prints its line. It reports whether every answer had the true number of hits.
func ask(srv *target.Server, o options, q *query, w windows) (bool, error) {
	var took []time.Duration
	var cpu time.Duration
	hits := -1
	for n := range o.rounds {
		if q.before != nil {
			if err := q.before(); err != nil {
				return false, err
			}
		}
		before, err := srv.Usage()
		if err != nil {
			return false, err
		}
		t := time.Now()
		body, err := get(q.target(o, w, n))
		if err != nil {
			return false, err
		}
		took = append(took, time.Since(t))
		after, err := srv.Usage()
		if err != nil {
			return false, err
		}
		cpu += after.CPU - before.CPU
		found, err := q.count(body)
		if err != nil {
			return false, err
		}
		if hits >= 0 && found != hits {
			return false, fmt.Errorf("%d hits, then %d", hits, found)
		}
		hits = found
	}
	slices.Sort(took)
	mark := ""
	if hits != q.truth {
		mark = "  WRONG"
	}
	each := ms(cpu / time.Duration(o.rounds))
	peer := fmt.Sprintf("%12s %8s", "-", "-")
	if q.tempo > 0 {
		peer = fmt.Sprintf("%12.0f %8.1f", q.tempo, q.tempo/max(each, 0.5)) // The clock ticks every 10 ms.
	}
	fmt.Printf("%-30s %9.1f %9.1f %9.1f %10d %10d %s%s\n", q.name, ms(took[len(took)/2]), ms(took[len(took)-1]), each, hits, q.truth, peer, mark)
	return hits == q.truth, nil
}

func get(target string) ([]byte, error) {
	resp, err := http.Get(target) //nolint:noctx // The benchmark ends with its process.
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
