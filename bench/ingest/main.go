package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/bench/internal/target"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// options are the flags.
type options struct {
	bin, config, endpoint, query string
	spans, batch, workers        int
	rate                         int
	settle                       time.Duration
	keep, memory                 string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/bramble", "binary to measure")
	flag.StringVar(&o.config, "config", "bench/store-only.yaml", "its configuration")
	flag.StringVar(&o.endpoint, "endpoint", "localhost:4317", "OTLP/gRPC endpoint of the configuration")
	flag.StringVar(&o.query, "query", "http://localhost:3200", "query endpoint, empty for none (then no freshness probe)")
	flag.IntVar(&o.spans, "spans", 2_000_000, "spans to send")
	flag.IntVar(&o.batch, "batch", 1000, "spans a request, about")
	flag.IntVar(&o.workers, "workers", 4, "concurrent requests")
	flag.IntVar(&o.rate, "rate", 0, "spans per second, 0 for as fast as possible")
	flag.DurationVar(&o.settle, "settle", 2*time.Minute, "wait at most this long for the server to become idle")
	flag.StringVar(&o.keep, "data", "", "data directory, kept; empty for a temporary one")
	flag.StringVar(&o.memory, "memory", "", "file for the resident memory while spans are sent: lines of seconds and MiB, for bench/memory")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	dir := o.keep
	if dir == "" {
		tmp, err := os.MkdirTemp("", "bramble-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	fmt.Fprintf(os.Stderr, "encoding %d spans\n", o.spans)
	requests, err := load.Encode(o.spans, o.batch, nil)
	if err != nil {
		return err
	}
	srv, err := target.Start(o.bin, o.config, o.endpoint, dir)
	if err != nil {
		return err
	}
	defer func() { _ = srv.Stop() }() // Only after an error: the ordinary end stops and checks it.
	idle, err := srv.Usage()
	if err != nil {
		return err
	}
	fmt.Printf("ready after            %8.2f s, %d MiB resident\n", srv.Ready.Seconds(), idle.RSS>>20)

	watched := watchMemory(srv, o.memory)
	res, err := send(o, requests)
	if err := errors.Join(err, watched()); err != nil {
		return err
	}
	loaded, err := srv.Usage()
	if err != nil {
		return err
	}
	settled, waited := srv.Settle(o.settle)
	size, err := diskUse(dir)
	if err != nil {
		return err
	}
	perM := func(d time.Duration) float64 { return d.Seconds() / float64(res.spans) * 1e6 }
	slices.Sort(res.latencies)
	fmt.Printf("acknowledged           %8d spans in %.1f s: %.0f spans/s, %d B/span sent\n",
		res.spans, res.took.Seconds(), float64(res.spans)/res.took.Seconds(), res.bytes/res.spans)
	fmt.Printf("CPU-s per million      %8.2f load, %.2f settled (after %.0f s)\n",
		perM(loaded.CPU-idle.CPU), perM(settled.CPU-idle.CPU), waited.Seconds())
	fmt.Printf("peak resident          %8d MiB (%d MiB when settled)\n", settled.Peak>>20, settled.RSS>>20)
	fmt.Printf("disk                   %8.1f B/span\n", float64(size)/float64(res.spans))
	fmt.Printf("acknowledgement        %8.1f ms p50, %.1f ms p99\n", ms(quantile(res.latencies, .5)), ms(quantile(res.latencies, .99)))
	if len(res.fresh) > 0 {
		slices.Sort(res.fresh)
		fmt.Printf("write to readable      %8.1f ms p50, %.1f ms p99, %d probes, %d not found\n",
			ms(quantile(res.fresh, .5)), ms(quantile(res.fresh, .99)), len(res.fresh), res.lost)
	}
	begin := time.Now()
	if err := srv.Stop(); err != nil {
		return err
	}
	fmt.Printf("SIGTERM to exit        %8.2f s\n", time.Since(begin).Seconds())
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// result is what a run of the load gave.
type result struct {
	spans, bytes int64
	took         time.Duration
	latencies    []time.Duration
	fresh        []time.Duration
	lost         int
}

func send(o options, requests []load.Request) (*result, error) {
	conn, err := load.Dial(o.endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var (
		res   result
		mu    sync.Mutex
		next  atomic.Int64
		wg    sync.WaitGroup
		fail  atomic.Pointer[error]
		begin = time.Now()
		sent  atomic.Int64
	)
	for range o.workers {
		wg.Go(func() {
			for fail.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(requests) {
					return
				}
				r := requests[i]
				if o.rate > 0 {
					due := begin.Add(time.Duration(float64(sent.Add(int64(r.Spans))) / float64(o.rate) * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				t := time.Now()
				if err := load.Export(conn, r.Body); err != nil {
					fail.CompareAndSwap(nil, &err)
					return
				}
				took := time.Since(t)
				// Every hundredth request: how long until its trace can be read?
				var fresh time.Duration
				probed, found := o.query != "" && i%100 == 0, false
				if probed {
					fresh, found = probe(o.query, r.Trace)
				}
				mu.Lock()
				res.spans += int64(r.Spans)
				res.bytes += int64(len(r.Body))
				res.latencies = append(res.latencies, took)
				if probed {
					res.fresh = append(res.fresh, fresh)
					if !found {
						res.lost++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	res.took = time.Since(begin)
	if err := fail.Load(); err != nil {
		return nil, *err
	}
	return &res, nil
}

// probe asks for a trace until it is there, for at most five seconds.
func probe(query string, id spanid.TraceID) (time.Duration, bool) {
	begin := time.Now()
	for time.Since(begin) < 5*time.Second {
		resp, err := http.Get(query + "/api/traces/" + id.String())
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin), true
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin), false
}

func diskUse(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
