package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// options are the flags.
type options struct {
	bin, config, endpoint, query string
	spans, batch, workers        int
	rate                         int
	settle                       time.Duration
	keep                         string
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
	load, err := encode(o.spans, o.batch)
	if err != nil {
		return err
	}
	srv, err := start(o, dir)
	if err != nil {
		return err
	}
	defer func() { _ = srv.stop() }() // Only after an error: the ordinary end stops and checks it.
	idle, err := srv.usage()
	if err != nil {
		return err
	}
	fmt.Printf("ready after            %8.2f s, %d MiB resident\n", srv.ready.Seconds(), idle.rss>>20)

	res, err := send(o, load)
	if err != nil {
		return err
	}
	loaded, err := srv.usage()
	if err != nil {
		return err
	}
	settled, waited := srv.settle(o.settle)
	size, err := diskUse(dir)
	if err != nil {
		return err
	}
	perM := func(d time.Duration) float64 { return d.Seconds() / float64(res.spans) * 1e6 }
	slices.Sort(res.latencies)
	fmt.Printf("acknowledged           %8d spans in %.1f s: %.0f spans/s, %d B/span sent\n",
		res.spans, res.took.Seconds(), float64(res.spans)/res.took.Seconds(), res.bytes/res.spans)
	fmt.Printf("CPU-s per million      %8.2f load, %.2f settled (after %.0f s)\n",
		perM(loaded.cpu-idle.cpu), perM(settled.cpu-idle.cpu), waited.Seconds())
	fmt.Printf("peak resident          %8d MiB (%d MiB when settled)\n", settled.peak>>20, settled.rss>>20)
	fmt.Printf("disk                   %8.1f B/span\n", float64(size)/float64(res.spans))
	fmt.Printf("acknowledgement        %8.1f ms p50, %.1f ms p99\n", ms(quantile(res.latencies, .5)), ms(quantile(res.latencies, .99)))
	if len(res.fresh) > 0 {
		slices.Sort(res.fresh)
		fmt.Printf("write to readable      %8.1f ms p50, %.1f ms p99, %d probes, %d not found\n",
			ms(quantile(res.fresh, .5)), ms(quantile(res.fresh, .99)), len(res.fresh), res.lost)
	}
	begin := time.Now()
	if err := srv.stop(); err != nil {
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

// request is one encoded ExportTraceServiceRequest and a trace that it completes.
type request struct {
	body  []byte
	spans int
	trace spanid.TraceID
}

// encode makes requests of whole traces that end about now.
func encode(spans, batch int) ([]request, error) {
	gen := testkit.NewGenerator(1)
	// 50 traces a second of about 21 spans each: the run ends about now.
	gen.SetTime(time.Now().Add(-time.Duration(float64(spans) / 21.3 / 50 * float64(time.Second))))
	var out []request
	for total := 0; total < spans; {
		b := gen.Batch(batch)
		body, err := otlpspan.AppendProto(nil, b)
		if err != nil {
			return nil, err
		}
		out = append(out, request{body: body, spans: len(b.Spans), trace: b.Spans[len(b.Spans)-1].TraceID})
		total += len(b.Spans)
	}
	return out, nil
}

// result is what a run of the load gave.
type result struct {
	spans, bytes int64
	took         time.Duration
	latencies    []time.Duration
	fresh        []time.Duration
	lost         int
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}
func (rawCodec) Name() string { return "proto" }

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

func send(o options, load []request) (*result, error) {
	conn, err := grpc.NewClient(o.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}))) //nolint:staticcheck // The v2 codec needs buffers.
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
				if i >= len(load) {
					return
				}
				r := load[i]
				if o.rate > 0 {
					due := begin.Add(time.Duration(float64(sent.Add(int64(r.spans))) / float64(o.rate) * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				t := time.Now()
				if err := export(conn, r.body); err != nil {
					fail.CompareAndSwap(nil, &err)
					return
				}
				took := time.Since(t)
				// Every hundredth request: how long until its trace can be read?
				var fresh time.Duration
				probed, found := o.query != "" && i%100 == 0, false
				if probed {
					fresh, found = probe(o.query, r.trace)
				}
				mu.Lock()
				res.spans += int64(r.spans)
				res.bytes += int64(len(r.body))
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

// export sends one request and, like an SDK, sends it again while the server asks for patience.
func export(conn *grpc.ClientConn, body []byte) error {
	var reply []byte
	var err error
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err = conn.Invoke(ctx, exportMethod, body, &reply)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("export: %w", err)
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

// server is the process under test.
type server struct {
	cmd    *exec.Cmd
	ready  time.Duration
	exited chan error
}

func start(o options, dir string) (*server, error) {
	cmd := exec.Command(o.bin, "--config", o.config)
	cmd.Env = append(os.Environ(), "BRAMBLE_DATA="+dir)
	log, err := os.CreateTemp("", "bramble-bench-*.log")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, exited: make(chan error, 1)}
	go func() { s.exited <- cmd.Wait() }()
	for {
		conn, err := (&http.Client{Timeout: time.Second}).Get("http://" + o.endpoint + "/")
		if err == nil {
			conn.Body.Close()
		}
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		select {
		case err := <-s.exited:
			return nil, fmt.Errorf("%s ended before it was ready (%w): see %s", o.bin, err, log.Name())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(begin) > time.Minute {
			return nil, fmt.Errorf("%s is not ready after a minute: see %s", o.bin, log.Name())
		}
	}
	s.ready = time.Since(begin)
	return s, nil
}

// stop ends the server with SIGTERM and waits for it. Further calls do nothing.
func (s *server) stop() error {
	if s.cmd.Process == nil || s.cmd.ProcessState != nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		return err
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		return errors.New("server did not end within a minute of SIGTERM")
	}
}
