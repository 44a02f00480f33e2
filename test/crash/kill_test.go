package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bramble-tracing/bramble/test/harness"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// rate is the load under which the process is killed, in spans per second.
const rate = 5000

// TestKillUnderTelemetrygen kills the process (SIGKILL) under 5,000 spans/s of telemetrygen, over gRPC and over HTTP,
// and starts it again: every span that was acknowledged is there.
func TestKillUnderTelemetrygen(t *testing.T) {
	const workers = 10
	rounds, spans := 1, 2*rate
	if full() {
		rounds, spans = 5, 12*rate
	}
	for _, protocol := range []string{"grpc", "http"} {
		for round := range rounds {
			t.Run(fmt.Sprintf("%s/%d", protocol, round), func(t *testing.T) {
				b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
				acks := &harness.Acks{}
				args := []string{
					"--workers", strconv.Itoa(workers), "--rate", strconv.Itoa(rate * 11 / 10 / workers), "--child-spans", "9",
					"--duration", "inf", "--batch-size", "128", "--allow-export-failures",
				}
				if protocol == "grpc" {
					args = append(args, "--otlp-endpoint", harness.GRPCRecorder(t, b.GRPC(), acks))
				} else {
					args = append(args, "--otlp-endpoint", harness.HTTPRecorder(t, b.HTTP(), acks), "--otlp-http")
				}
				started := time.Now()
				load := harness.StartTelemetrygen(t, args...)
				// An odd number, so that kills fall on different points between the log's syncs and the head's cuts.
				harness.Poll(t, 5*time.Minute, "spans", func() error {
					if n := acks.Spans(); n < spans+777*round {
						return fmt.Errorf("%d spans were acknowledged", n)
					}
					return nil
				})
				b.Kill()
				took := time.Since(started)
				load.Kill()
				b.Restart()
				missing, examples := acks.Missing(t, b)
				require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
				t.Logf("killed after %s: %d spans of %d traces were acknowledged (%.0f/s), %d are missing; ready again after %s",
					took.Round(time.Millisecond), acks.Spans(), acks.Traces(), float64(acks.Spans())/took.Seconds(), missing, b.ReadyAfter.Round(time.Millisecond))
			})
		}
	}
}

// TestKillUnderGoSDK kills the process several times under 5,000 spans/s of the OpenTelemetry Go SDK, and starts it
// again at once. Over gRPC the SDK retries what was not acknowledged, so that in the end not one span that the
// application ended is missing. Over HTTP it retries answers, but gives up when nobody listens on the port: there every
// span is either acknowledged, and then it is in the store, or given up with an error that the SDK reports.
func TestKillUnderGoSDK(t *testing.T) {
	kills := 2
	if full() {
		kills = 12
	}
	retry := 2 * time.Minute
	exporters := map[string]func(b *harness.Bramble) (sdktrace.SpanExporter, error){
		"grpc": func(b *harness.Bramble) (sdktrace.SpanExporter, error) {
			return otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(b.GRPC()), otlptracegrpc.WithInsecure(), otlptracegrpc.WithTimeout(retry),
				otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 500 * time.Millisecond, MaxElapsedTime: retry}))
		},
		"http": func(b *harness.Bramble) (sdktrace.SpanExporter, error) {
			return otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(b.HTTP()), otlptracehttp.WithInsecure(), otlptracehttp.WithTimeout(retry),
				otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 500 * time.Millisecond, MaxElapsedTime: retry}))
		},
	}
	for name, newExporter := range exporters {
		t.Run(name, func(t *testing.T) {
			b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
			exp, err := newExporter(b)
			require.NoError(t, err)
			acks, gaveUp := &harness.Acks{}, atomic.Int64{}
			tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(
				&harness.AckExporter{SpanExporter: exp, Acks: acks, Failed: func(n int, _ error) { gaveUp.Add(int64(n)) }},
				sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(20*time.Millisecond)))

			load := startLoad(t, tp.Tracer("load"))
			for i := range kills {
				before := acks.Spans()
				harness.Poll(t, time.Minute, "spans", func() error {
					if n := acks.Spans() - before; n < rate+333*i {
						return fmt.Errorf("%d spans were acknowledged since the last kill", n)
					}
					return nil
				})
				b.Kill()
				b.Restart()
			}
			ended := load.stop()
			require.NoError(t, tp.Shutdown(t.Context()))

			if name == "grpc" {
				require.Zero(t, gaveUp.Load(), "spans that the SDK gave up")
			}
			assert.Equal(t, ended, acks.Spans()+int(gaveUp.Load()), "every span that was ended is acknowledged or given up in the end")
			missing, examples := acks.Missing(t, b)
			require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
			b.Kill()
			b.Restart()
			missing, examples = acks.Missing(t, b)
			require.Zero(t, missing, "after one more kill, of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
			t.Logf("%d kills under load: %d spans ended, %d acknowledged, %d given up by the SDK, %d acknowledged ones missing",
				kills, ended, acks.Spans(), gaveUp.Load(), missing)
		})
	}
}

// load ends spans at the rate until it is stopped.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ended  int
}

func startLoad(t *testing.T, tracer trace.Tracer) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	l.wg.Go(func() { l.run(ctx, tracer) })
	t.Cleanup(cancel)
	return l
}

// run ends a trace of ten spans at each tick.
func (l *load) run(ctx context.Context, tracer trace.Tracer) {
	const perTrace = 10
	tick := time.NewTicker(time.Second * perTrace / rate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ctx, root := tracer.Start(context.WithoutCancel(ctx), "root", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
		for i := range perTrace - 1 {
			_, s := tracer.Start(ctx, "child", trace.WithAttributes(attribute.Int("i", i), attribute.String("payload", strings.Repeat("x", 100))))
			s.End()
			l.ended++
		}
		root.End()
		l.ended++
	}
}

// stop returns how many spans were ended.
func (l *load) stop() int {
	l.cancel()
	l.wg.Wait()
	return l.ended
}

// TestKillWhileStarting kills the process at different moments of its start on a store with data, among them those in
// which it replays its log. Nothing is lost by that, and it starts in the end.
func TestKillWhileStarting(t *testing.T) {
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
	acks := &harness.Acks{}
	harness.StartTelemetrygen(t, "--otlp-endpoint", harness.GRPCRecorder(t, b.GRPC(), acks),
		"--workers", "4", "--traces", "100", "--child-spans", "19", "--rate", "2500").Wait(time.Minute)
	b.Kill()
	kills := 8
	if full() {
		kills = 60
	}
	b.Restart()
	usual := b.ReadyAfter
	b.Kill()
	for i := range kills {
		b.KillWithin(usual * time.Duration(i+1) / time.Duration(kills+1))
	}
	b.Restart()
	missing, examples := acks.Missing(t, b)
	require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", acks.Spans(), examples)
	t.Logf("%d kills within the %s of a start: %d acknowledged spans, %d missing", kills, usual.Round(time.Millisecond), acks.Spans(), missing)
}

// TestKillWhileWritingBlocks gives the store so little memory that it is always turning heads into blocks, and kills it
// again and again while it writes one under as much load as there is, on the same data: everything that was ever acknowledged is there
// after each start. All spans are looked for by a search, and some traces are read whole, which with so little memory means
// that pages are decoded for each.
func TestKillWhileWritingBlocks(t *testing.T) {
	kills, spans := 3, 8000
	if full() {
		kills, spans = 20, 6_000
	}
	b := harness.Start(t, harness.Config{
		Files:   []string{"config/local.yaml"},
		Overlay: harness.Set("extensions::trace_store::memory::limit_mib", 16, "extensions::trace_query::limits::memory_mib", 256),
	})
	acks := &harness.Acks{}
	endpoint := harness.GRPCRecorder(t, b.GRPC(), acks)
	check := func(when string) {
		t.Helper()
		missing, examples := acks.MissingInSearch(t, b)
		require.Zero(t, missing, "%s, of %d acknowledged spans are missing, such as %v", when, acks.Spans(), examples)
		missing, examples = acks.Sample(20).Missing(t, b)
		require.Zero(t, missing, "%s, spans are missing in whole traces, such as %v", when, examples)
	}
	unfinished := 0
	for i := 0; i < kills || full() && unfinished < kills && i < 4*kills; i++ {
		before := acks.Spans()
		load := harness.StartTelemetrygen(t, "--otlp-endpoint", endpoint, "--workers", "4", "--rate", "0", "--child-spans", "19", "--duration", "inf",
			"--batch-size", "400", "--allow-export-failures", "--telemetry-attributes", `payload="`+strings.Repeat("x", 1500)+`"`)
		harness.Poll(t, 5*time.Minute, "spans", func() error {
			if n := acks.Spans() - before; n < spans+531*(i%kills) {
				return fmt.Errorf("%d spans were acknowledged since the last kill", n)
			}
			return nil
		})
		harness.Poll(t, 5*time.Minute, "a block", func() error {
			if files(t, b.Data)["unfinished blocks"] == 0 {
				return errors.New("no block is being written")
			}
			return nil
		})
		b.Kill()
		load.Kill()
		found := files(t, b.Data)
		unfinished += found["unfinished blocks"]
		b.Restart()
		check(fmt.Sprintf("after kill %d", i+1))
		t.Logf("kill %d: %d spans acknowledged, none missing; at the kill: %v", i+1, acks.Spans(), found)
	}
	if full() {
		require.GreaterOrEqual(t, unfinished, kills, "kills that left an unfinished block")
	}
	b.Stop()
	b.Restart()
	check("after a stop")
	missing, examples := acks.Sample(200).Missing(t, b)
	require.Zero(t, missing, "spans are missing in whole traces, such as %v", examples)
	t.Logf("%d kills with 16 MiB of memory, %d blocks were being written: %d spans acknowledged, 0 missing; on disk: %v",
		kills, unfinished, acks.Spans(), files(t, b.Data))
}

// files counts the files of a store by the first part of their path, and the blocks that are being written.
func files(t *testing.T, data string) map[string]int {
	t.Helper()
	count := map[string]int{}
	require.NoError(t, filepath.WalkDir(filepath.Join(data, "trace_store"), func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // It was removed, or a block got its name.
		}
		if err == nil && d.IsDir() && strings.HasSuffix(path, ".tmp") {
			count["unfinished blocks"]++
		}
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(filepath.Join(data, "trace_store"), path)
			first, _, _ := strings.Cut(rel, string(filepath.Separator))
			count[first]++
		}
		return err
	}))
	return count
}
