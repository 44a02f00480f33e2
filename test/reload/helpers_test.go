package reload

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"gopkg.in/yaml.v3"

	"github.com/bramble-tracing/bramble/test/harness"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// subject is a running process with the file that it is configured by.
type subject struct {
	*harness.Bramble
	t    *testing.T
	path string
	good string
}

// start runs the shipped configuration for laptops from a copy that can be edited. Without UDP: the harness's free ports
// are free for TCP.
func start(t *testing.T, env ...string) *subject {
	t.Helper()
	text, err := os.ReadFile(harness.Root(t, "config", "local.yaml"))
	require.NoError(t, err)
	s := &subject{t: t, path: filepath.Join(t.TempDir(), "config.yaml"), good: string(text)}
	s.write(s.good)
	s.Bramble = harness.Start(t, harness.Config{Files: []string{s.path}, Env: env})
	return s
}

func (s *subject) write(text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path, []byte(text), 0o600))
}

// edited is the good configuration with fields set: pairs of a path and a value. A path that ends in + adds to a list.
func (s *subject) edited(pairs ...any) string {
	s.t.Helper()
	var tree map[string]any
	require.NoError(s.t, yaml.Unmarshal([]byte(s.good), &tree))
	for i := 0; i < len(pairs); i += 2 {
		path, ok := pairs[i].(string)
		require.True(s.t, ok)
		path, add := strings.CutSuffix(path, "+")
		at, keys := tree, strings.Split(path, "::")
		for _, k := range keys[:len(keys)-1] {
			next, ok := at[k].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[k] = next
			}
			at = next
		}
		last := keys[len(keys)-1]
		if list, ok := at[last].([]any); ok && add {
			at[last] = append(list, pairs[i+1])
			continue
		}
		require.False(s.t, add, "%s is no list", path)
		at[last] = pairs[i+1]
	}
	out, err := yaml.Marshal(tree)
	require.NoError(s.t, err)
	return string(out)
}

// record is a line of /status/config.
type record struct {
	Time    time.Time
	Hash    string
	Outcome string
	Reason  string
	Changes []struct{ Path string }
}

type status struct {
	OK      bool
	Hash    string
	History []record
}

func (s *subject) status() (status, error) {
	var st status
	reply := s.Get("/status/config?format=json")
	if reply.Status != 200 {
		return st, fmt.Errorf("GET /status/config: %d %s", reply.Status, reply.Body)
	}
	return st, json.Unmarshal(reply.Body, &st)
}

// next waits for the record after the first n, and returns it.
func (s *subject) next(n int) record {
	s.t.Helper()
	var r record
	harness.Poll(s.t, time.Minute, "a verdict", func() error {
		st, err := s.status()
		if err != nil {
			return err
		}
		if len(st.History) <= n {
			return fmt.Errorf("there are %d verdicts", len(st.History))
		}
		r = st.History[n]
		return nil
	})
	return r
}

func (s *subject) count() int {
	s.t.Helper()
	st, err := s.status()
	require.NoError(s.t, err)
	return len(st.History)
}

// load sends spans with the Go SDK and its own retry until stop.
type load struct {
	acks   harness.Acks
	mu     sync.Mutex
	gaveUp int
	errors []string // a few of why
	ended  int
	stop   func()
}

// startLoad ends `rate` spans a second, in traces of ten.
func startLoad(t *testing.T, b *harness.Bramble, protocol string, rate int) *load {
	t.Helper()
	const retry = 2 * time.Minute
	var exp sdktrace.SpanExporter
	var err error
	if protocol == "grpc" {
		exp, err = otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(b.GRPC()), otlptracegrpc.WithInsecure(), otlptracegrpc.WithTimeout(retry),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 500 * time.Millisecond, MaxElapsedTime: retry}))
	} else {
		exp, err = otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(b.HTTP()), otlptracehttp.WithInsecure(), otlptracehttp.WithTimeout(retry),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 500 * time.Millisecond, MaxElapsedTime: retry}))
	}
	require.NoError(t, err)
	l := &load{}
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&harness.AckExporter{SpanExporter: exp, Acks: &l.acks, Failed: func(n int, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.errors) < 5 {
			l.errors = append(l.errors, err.Error())
		}
		l.gaveUp += n
	}}, sdktrace.WithBlocking(), sdktrace.WithBatchTimeout(20*time.Millisecond)))
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { l.run(t, tp.Tracer("load"), rate, quit) })
	l.stop = sync.OnceFunc(func() {
		close(quit)
		wg.Wait()
		require.NoError(t, tp.Shutdown(t.Context()))
	})
	t.Cleanup(func() {
		select {
		case <-quit:
		default:
			close(quit)
			wg.Wait()
		}
	})
	return l
}

func (l *load) run(t *testing.T, tracer trace.Tracer, rate int, quit <-chan struct{}) {
	t.Helper()
	const perTrace = 10
	tick := time.NewTicker(time.Second * perTrace / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		ctx, root := tracer.Start(t.Context(), "root", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
		for range perTrace - 1 {
			_, s := tracer.Start(ctx, "child")
			s.End()
		}
		root.End()
		l.ended += perTrace
	}
}

// check stops the load and requires that nothing that was acknowledged is missing, and that every span was acknowledged
// or reported as given up. It returns how many the SDK gave up.
func (l *load) check(t *testing.T, b *harness.Bramble) (gaveUp int) {
	t.Helper()
	l.stop()
	require.Equal(t, l.ended, l.acks.Spans()+l.gaveUp, "every span is acknowledged or given up in the end")
	require.NotZero(t, l.acks.Spans())
	missing, examples := l.acks.Missing(t, b)
	require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", l.acks.Spans(), examples)
	return l.gaveUp
}
