package reload

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestGoodReloads edits again and again under 10,000 spans/s, over gRPC and over HTTP at the same time. No connection is
// refused, at Zipkin's and Jaeger's ports neither, and no SDK gives up a span, although Go's does over HTTP for every refused or broken connection. It prints how
// long an edit takes to have effect and how long a client was kept waiting.
func TestGoodReloads(t *testing.T) {
	reloads, rate := 8, 2000
	if full() {
		reloads, rate = 100, 5000
	}
	s := start(t)
	grpcLoad, httpLoad := startLoad(t, s.Bramble, "grpc", rate), startLoad(t, s.Bramble, "http", rate)
	zipkin := s.Addr("receivers::zipkin")
	var watched []func() ([]time.Duration, int)
	for _, addr := range []string{s.GRPC(), s.HTTP(), zipkin, s.Addr("receivers::jaeger::protocols::grpc"), s.Addr("receivers::jaeger::protocols::thrift_http")} {
		watched = append(watched, watchPort(t, addr))
	}
	slowest := watchAnswers(t, "http://"+s.HTTP()+"/v1/traces", "{}", http.StatusOK)
	slowestZipkin := watchAnswers(t, "http://"+zipkin+"/api/v2/spans", "[]", http.StatusAccepted)
	query := watchQueries(t, s.QueryAddr())
	var effect []time.Duration
	var rss, goroutines []int
	n := s.count()
	for i := range reloads {
		edit := time.Now()
		s.write(s.edited("processors::memory_limiter::check_interval", fmt.Sprintf("%dms", 1001+i)))
		r := s.next(n)
		n++
		require.Equal(t, "applied", r.Outcome, r.Reason)
		require.Len(t, r.Changes, 1)
		require.Equal(t, "processors::memory_limiter::check_interval", r.Changes[0].Path)
		harness.Poll(t, time.Minute, "the pipelines to run", func() error {
			if reply := s.Get("/ready"); reply.Status != http.StatusOK {
				return fmt.Errorf("%d", reply.Status)
			}
			return nil
		})
		effect = append(effect, time.Since(edit))
		rss = append(rss, statusField(t, s.PID(), "VmRSS:")>>10)
		goroutines = append(goroutines, statusField(t, s.PID(), "Threads:"))
	}
	var gaps []time.Duration
	refused := 0
	for _, w := range watched {
		g, r := w()
		gaps, refused = append(gaps, g...), refused+r
	}
	failed := query()
	waited, unanswered := slowest()
	waitedZipkin, unansweredZipkin := slowestZipkin()
	assert.Zero(t, grpcLoad.check(t, s.Bramble), "spans that the SDK gave up over gRPC")
	gaveUp := httpLoad.check(t, s.Bramble)
	assert.Zero(t, gaveUp, "spans that the SDK gave up over HTTP: %v", httpLoad.errors)
	assert.Zero(t, refused, "connections that were refused")
	assert.Zero(t, unanswered+unansweredZipkin, "requests over HTTP that were not answered well")
	slices.Sort(effect)
	slices.Sort(gaps)
	t.Logf("%d reloads at %d spans/s: %d + %d spans acknowledged, 0 missing, %d given up by the SDK over HTTP", reloads, 2*rate, grpcLoad.acks.Spans(), httpLoad.acks.Spans(), gaveUp)
	t.Logf("edit to effect: median %s, longest %s; %d connections refused, longest time without a listener %s", effect[len(effect)/2].Round(time.Millisecond),
		effect[len(effect)-1].Round(time.Millisecond), refused, longest(gaps).Round(time.Millisecond))
	t.Logf("one OTLP request after the other over HTTP: %d, the slowest reload kept one waiting for %s; Zipkin's: %d, %s", waited.n, waited.longest.Round(time.Millisecond),
		waitedZipkin.n, waitedZipkin.longest.Round(time.Millisecond))
	t.Logf("resident MiB first, median, last: %d, %d, %d; threads: %d, %d", rss[0], rss[len(rss)/2], rss[len(rss)-1], goroutines[0], goroutines[len(goroutines)-1])
	assert.Zero(t, failed, "queries that failed while the configuration was reloaded")
	assert.Less(t, rss[len(rss)-1], 3*rss[0]+200, "memory does not grow with reloads")
}

func longest(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1]
}

// watchPort connects again and again, and returns how long the times were in which that was refused.
func watchPort(t *testing.T, addr string) func() (gaps []time.Duration, refused int) {
	t.Helper()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var gaps []time.Duration
	refused := 0
	wg.Go(func() {
		var since time.Time
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			c, err := net.DialTimeout("tcp", addr, time.Second)
			switch {
			case err != nil:
				refused++
				if since.IsZero() {
					since = time.Now()
				}
			default:
				_ = c.Close()
				if !since.IsZero() {
					gaps = append(gaps, time.Since(since))
					since = time.Time{}
				}
			}
		}
	})
	stop := sync.OnceFunc(func() { close(quit); wg.Wait() })
	t.Cleanup(stop)
	return func() ([]time.Duration, int) { stop(); return gaps, refused }
}

// waits is how long answers took.
type waits struct {
	n       int
	longest time.Duration
}

// watchAnswers posts JSON every few milliseconds, on one connection if the server keeps it, and returns how long the answers
// took and how many had not the status.
func watchAnswers(t *testing.T, url, body string, status int) func() (w waits, bad int) {
	t.Helper()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var w waits
	bad := 0
	wg.Go(func() {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			began := time.Now()
			resp, err := client.Post(url, "application/json", strings.NewReader(body)) //nolint:noctx // Bounded by the client.
			if err != nil {
				bad++
				t.Logf("a request failed: %v", err)
				continue
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
				bad++
				t.Logf("a request failed: %s %v", resp.Status, err)
			}
			_ = resp.Body.Close()
			w.n++
			w.longest = max(w.longest, time.Since(began))
		}
	})
	stop := sync.OnceFunc(func() { close(quit); wg.Wait() })
	t.Cleanup(stop)
	return func() (waits, int) { stop(); return w, bad }
}

// watchQueries searches again and again and counts what fails: the query port stays open across reloads.
func watchQueries(t *testing.T, addr string) (failed func() int64) {
	t.Helper()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range 2 {
		wg.Go(func() {
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-quit:
					return
				case <-tick.C:
				}
				resp, err := client.Get("http://" + addr + "/api/search?limit=1&q=%7B%7D") //nolint:noctx // Bounded by the client.
				if err != nil {
					bad.Add(1)
					t.Logf("a query failed: %v", err)
					continue
				}
				if resp.StatusCode != http.StatusOK {
					bad.Add(1)
					t.Logf("a query failed: %s", resp.Status)
				}
				_ = resp.Body.Close()
			}
		})
	}
	stop := sync.OnceFunc(func() { close(quit); wg.Wait() })
	t.Cleanup(stop)
	return func() int64 { stop(); return bad.Load() }
}

// statusField is a number of /proc/PID/status.
func statusField(t *testing.T, pid int, name string) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), name); ok {
			n, err := strconv.Atoi(strings.Fields(v)[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// TestRollBackUnderLoad applies what passes every check and fails when it is started.
func TestRollBackUnderLoad(t *testing.T) {
	s := start(t)
	l := startLoad(t, s.Bramble, "grpc", 2000)
	before, err := s.status()
	require.NoError(t, err)
	n := len(before.History)
	var took []time.Duration
	for i := range 3 {
		s.write(s.edited("exporters::file", map[string]any{"path": fmt.Sprintf("/does/not/exist/%d", i)}, "service::pipelines::traces::exporters+", "file"))
		applied, back := s.next(n), s.next(n+1)
		n += 2
		require.Equal(t, "applied", applied.Outcome, applied.Reason)
		require.Equal(t, "rolled_back", back.Outcome)
		assert.Contains(t, back.Reason, "/does/not/exist")
		harness.Poll(t, time.Minute, "the pipelines to run", func() error {
			if reply := s.Get("/ready"); reply.Status != http.StatusOK {
				return fmt.Errorf("%d", reply.Status)
			}
			return nil
		})
		took = append(took, time.Since(applied.Time))
	}
	st, err := s.status()
	require.NoError(t, err)
	assert.Equal(t, before.Hash, st.Hash)
	assert.Zero(t, l.check(t, s.Bramble))
	t.Logf("3 roll backs at 2,000 spans/s, from applying the bad one to ready again (a poll's pause included): %v; %d spans acknowledged, 0 missing", took, l.acks.Spans())
	assert.Len(t, s.Log.Lines("was rolled back"), 3)
}

// TestConfigMap follows the kubelet's way of changing a mounted ConfigMap: the link to the directory is swapped.
func TestConfigMap(t *testing.T) {
	s := start(t)
	dir := filepath.Dir(s.path)
	version := func(name, text string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "config.yaml"), []byte(text), 0o600))
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	n := s.count()
	version("..v1", s.good)
	require.NoError(t, os.Remove(s.path))
	require.NoError(t, os.Symlink("..data/config.yaml", s.path))
	version("..v2", s.edited("processors::memory_limiter::check_interval", "2s"))
	r := s.next(n)
	require.Equal(t, "applied", r.Outcome, r.Reason)
	version("..v3", s.edited("processors::memory_limiter::check_intervall", "3s"))
	r = s.next(n + 1)
	require.Equal(t, "rejected", r.Outcome)
	// A reload by hand takes what runs.
	s.Signal(syscall.SIGHUP)
	harness.Poll(t, time.Minute, "a reload", func() error {
		if len(s.Log.Lines("Everything is ready")) < 3 {
			return assert.AnError
		}
		return nil
	})
	require.True(t, s.Running())
}

// TestBadAtBoot starts on the copy of the last good configuration, says so loudly, and takes the mended one.
func TestBadAtBoot(t *testing.T) {
	data := t.TempDir()
	text, err := os.ReadFile(harness.Root(t, "config", "local.yaml"))
	require.NoError(t, err)
	s := &subject{t: t, path: filepath.Join(t.TempDir(), "config.yaml"), good: string(text)}
	s.write(s.good)
	store := filepath.Join(data, "trace_store")
	s.Bramble = harness.Start(t, harness.Config{
		Files: []string{s.path}, Data: data, Env: []string{"BRAMBLE_CONFIG_PROBATION=300ms", "BRAMBLE_DATA=" + store},
	})
	kept := filepath.Join(store, "last-good-config.json")
	harness.Poll(t, time.Minute, "the copy", func() error { _, err := os.Stat(kept); return err })
	s.Stop()
	s.write(s.good + "\nreceivers: {}\n")
	s.Restart()
	harness.Poll(t, time.Minute, "the warning in the log", func() error {
		if len(s.Log.Lines("THE CONFIGURATION IS BAD")) == 0 {
			return assert.AnError
		}
		return nil
	})
	st, err := s.status()
	require.NoError(t, err)
	assert.False(t, st.OK)
	s.write(s.edited("processors::memory_limiter::check_interval", "2s"))
	harness.Poll(t, time.Minute, "the mended one", func() error {
		st, err := s.status()
		if err == nil && (!st.OK || st.History[len(st.History)-1].Outcome != "applied") {
			err = assert.AnError
		}
		return err
	})
	s.Stop()
	// Without a copy a bad configuration ends the process, with the reason.
	require.NoError(t, os.Remove(kept))
	s.write("receivers: [\n")
	code, out := harness.Command(t, "--config", s.path)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "yaml")
}

// TestSecretsAreHidden: what a configuration holds is not told by the page, the log, the differences or a rejection.
func TestSecretsAreHidden(t *testing.T) {
	s := start(t)
	secret := func(endpoint string) map[string]any {
		return map[string]any{
			"endpoint": "http://someone:hunter1@127.0.0.1:1", "headers": map[string]any{"authorization": "Bearer hunter2"},
			"sending_queue": map[string]any{"enabled": true}, "timeout": endpoint,
		}
	}
	n := s.count()
	s.write(s.edited("exporters::otlp_http", secret("1s"), "service::pipelines::traces::exporters+", "otlp_http"))
	r := s.next(n)
	require.Equal(t, "applied", r.Outcome, r.Reason)
	s.write(s.edited("exporters::otlp_http", secret("soon"), "service::pipelines::traces::exporters+", "otlp_http"))
	r = s.next(n + 1)
	require.Equal(t, "rejected", r.Outcome)
	for what, text := range map[string]string{
		"page": string(s.Get("/status/config").Body), "JSON": string(s.Get("/status/config?format=json").Body), "log": s.Log.String(),
	} {
		assert.NotContains(t, text, "hunter1", what)
		assert.NotContains(t, text, "hunter2", what)
		assert.Contains(t, text, "otlp_http", what)
	}
}
