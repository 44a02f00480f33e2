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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/bench/internal/target"
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// options are the flags.
type options struct {
	bin, configs, endpoint, query string
	spans, batch, workers, runs   int
	rate                          int
	settle                        time.Duration
	keep, memory                  string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/bramble", "binary to measure")
	flag.StringVar(&o.configs, "config", "bench/store-only.yaml", "its configuration, FILE or FILE+FILE to merge; several with commas between them are measured in turn")
	flag.StringVar(&o.endpoint, "endpoint", "localhost:4317", "OTLP/gRPC endpoint of the configuration")
	flag.StringVar(&o.query, "query", "http://localhost:3200", "query endpoint, empty for none (then no freshness probe)")
	flag.IntVar(&o.spans, "spans", 2_000_000, "spans to send")
	flag.IntVar(&o.batch, "batch", 1000, "spans a request, about")
	flag.IntVar(&o.workers, "workers", 4, "concurrent requests")
	flag.IntVar(&o.rate, "rate", 0, "spans per second, 0 for as fast as possible")
	flag.IntVar(&o.runs, "runs", 1, "rounds, in each of which every configuration is measured once with an empty store; more than one print medians")
	flag.DurationVar(&o.settle, "settle", 2*time.Minute, "wait at most this long for the server to become idle")
	flag.StringVar(&o.keep, "data", "", "data directory, kept, for one run of one configuration; empty for a temporary one")
	flag.StringVar(&o.memory, "memory", "", "file for the resident memory while spans are sent, for one run of one configuration: lines of seconds and MiB, for bench/memory")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

// run makes the rounds: each configuration in turn, so that a machine that changes its speed changes it for all.
func run(o options) error {
	configs := strings.Split(o.configs, ",")
	if o.runs < 1 {
		return fmt.Errorf("-runs is %d: at least 1", o.runs)
	}
	if (o.keep != "" || o.memory != "") && len(configs)*o.runs > 1 {
		return errors.New("-data and -memory are for one run of one configuration")
	}
	fmt.Fprintf(os.Stderr, "encoding %d spans\n", o.spans)
	requests, err := load.Encode(o.spans, o.batch, nil)
	if err != nil {
		return err
	}
	all := make([][]figures, len(configs))
	for round := range o.runs {
		for i, config := range configs {
			if len(configs)*o.runs > 1 {
				fmt.Printf("--- %s, round %d of %d\n", config, round+1, o.runs)
			}
			f, err := measure(o, config, requests)
			if err != nil {
				return fmt.Errorf("%s: %w", config, err)
			}
			f.print()
			all[i] = append(all[i], *f)
		}
	}
	if o.runs > 1 {
		for i, config := range configs {
			fmt.Printf("=== %s: median (least - most) of %d\n", config, o.runs)
			printMedians(all[i])
		}
	}
	return nil
}

// measure starts the binary with one configuration, sends it the requests, waits until it is idle and stops it.
func measure(o options, config string, requests []load.Request) (*figures, error) {
	dir := o.keep
	if dir == "" {
		tmp, err := os.MkdirTemp("", "bramble-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	srv, err := target.Start(o.bin, config, o.endpoint, dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = srv.Stop() }() // Only after an error: the ordinary end stops and checks it.
	if o.query != "" && !answers(o.query) {
		o.query = "" // A pipeline without a store, as the floor is.
	}
	idle, err := srv.Usage()
	if err != nil {
		return nil, err
	}
	watched := watchMemory(srv, o.memory)
	res, err := send(o, requests)
	if err := errors.Join(err, watched()); err != nil {
		return nil, err
	}
	loaded, err := srv.Usage()
	if err != nil {
		return nil, err
	}
	settled, waited := srv.Settle(o.settle)
	size, err := diskUse(dir)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := srv.Stop(); err != nil {
		return nil, err
	}
	slices.Sort(res.latencies)
	slices.Sort(res.fresh)
	perM := func(d time.Duration) float64 { return d.Seconds() / float64(res.spans) * 1e6 }
	return &figures{
		spans: res.spans, bytesSent: res.bytes / res.spans, took: res.took, waited: waited, probes: len(res.fresh), lost: res.lost,
		values: [kinds]float64{
			readyAfter: srv.Ready.Seconds(), idleMiB: mib(idle.RSS),
			spansPerSecond: float64(res.spans) / res.took.Seconds(),
			cpuLoad:        perM(loaded.CPU - idle.CPU), cpuSettled: perM(settled.CPU - idle.CPU),
			peakMiB: mib(settled.Peak), settledMiB: mib(settled.RSS), bytesPerSpan: float64(size) / float64(res.spans),
			ackP50: ms(quantile(res.latencies, .5)), ackP99: ms(quantile(res.latencies, .99)),
			freshP50: ms(quantile(res.fresh, .5)), freshP99: ms(quantile(res.fresh, .99)),
			exitAfter: time.Since(begin).Seconds(),
		},
	}, nil
}

// answers tells whether something listens at the query endpoint. The servers' ports are open before the first span is sent.
func answers(query string) bool {
	resp, err := http.Get(query + "/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

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
