//go:build linux

package crash

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// cgroup makes a group with a limit of memory, and returns the command that puts a process into it and the file with the
// number of processes that were killed for want of memory. It skips the test where that is not allowed.
func cgroup(t *testing.T, limit int64) (wrap []string, kills func() int) {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("bramble-test-%d-%d", os.Getpid(), limit>>20))
	limitFile, event, field := "memory.limit_in_bytes", "memory.oom_control", "oom_kill "
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir = filepath.Join("/sys/fs/cgroup", filepath.Base(dir))
		limitFile, event = "memory.max", "memory.events"
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Skipf("a memory limit cannot be set here: %v", err)
	}
	t.Cleanup(func() {
		harness.Poll(t, time.Minute, "the end of the processes in the group", func() error { return os.Remove(dir) })
	})
	if err := os.WriteFile(filepath.Join(dir, limitFile), []byte(strconv.FormatInt(limit, 10)), 0o600); err != nil {
		t.Skipf("a memory limit cannot be set here: %v", err)
	}
	return []string{"sh", "-c", "echo $$ > " + filepath.Join(dir, "cgroup.procs") + ` && exec "$@"`, "sh"}, func() int {
		b, err := os.ReadFile(filepath.Join(dir, event)) //nolint:gosec // A file of the kernel.
		require.NoError(t, err)
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, field); ok {
				n, err := strconv.Atoi(strings.TrimSpace(rest))
				require.NoError(t, err)
				return n
			}
		}
		return 0
	}
}

// peakRSS returns the most memory that the process had, in bytes.
func peakRSS(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatal("no VmHWM in /proc")
	return 0
}

// floods are kinds of load; each makes its n-th request.
var floods = map[string]func(g *testkit.Generator, n int) *store.Batch{
	"reference": func(g *testkit.Generator, _ int) *store.Batch { return g.Batch(2000) },
	// 200 keys that no other span has, in each of the requests.
	"keys": func(g *testkit.Generator, n int) *store.Batch {
		b := g.Batch(200)
		for i := range b.Spans {
			b.Spans[i].Attrs = append(b.Spans[i].Attrs, store.Attr{Key: fmt.Sprintf("key.%d.%d", n, i), Value: store.Int(int64(i))})
		}
		return b
	},
	"values": func(g *testkit.Generator, n int) *store.Batch {
		b := g.Batch(2000)
		for i := range b.Spans {
			b.Spans[i].Attrs = append(b.Spans[i].Attrs, store.Attr{
				Key: "unique", Value: store.String(strings.Repeat(spanid.TraceID{byte(n), byte(n >> 8), byte(i), byte(i >> 8)}.String(), 8)),
			})
		}
		return b
	},
	"large value": func(g *testkit.Generator, _ int) *store.Batch {
		b := g.Batch(10)
		b.Spans[0].Attrs = append(b.Spans[0].Attrs, store.Attr{Key: "large", Value: store.String(strings.Repeat("0123456789", 1e6))})
		return b
	},
}

// TestMemoryLimit runs the binary in 256 and in 512 MiB, given by the kernel, and floods it from four clients at a time
// with requests as quickly as they are answered: each request is accepted, or refused with a code that clients retry, and
// the process is not killed. What was acknowledged is there afterwards.
func TestMemoryLimit(t *testing.T) {
	if !full() {
		t.Skip("set BRAMBLE_FULL=1 for the tests in a cgroup")
	}
	for _, mib := range []int64{256, 512} {
		t.Run(fmt.Sprintf("%d MiB", mib), func(t *testing.T) {
			wrap, kills := cgroup(t, mib<<20)
			b := harness.Start(t, harness.Config{
				Files: []string{"config/local.yaml"}, Wrap: wrap, // What it does not set follows from the limit.
			})
			// Heads that have large values from before are written, and merged, while the next ones come.
			for _, load := range []struct {
				name     string
				requests int
			}{{"large value", 16}, {"keys", 500}, {"reference", 400}, {"values", 200}, {"large value", 16}} {
				flood(t, b, load.name, load.requests)
			}
			require.True(t, b.Running())
			require.Zero(t, kills())
			// The program's text is not all charged to the group, so that there may be more than the limit.
			t.Logf("peak RSS %d MiB in a limit of %d MiB", peakRSS(t, b.PID())>>20, mib)
		})
	}
}

func flood(t *testing.T, b *harness.Bramble, name string, requests int) {
	t.Helper()
	var next, accepted, refused atomic.Int64
	var mu sync.Mutex
	var last *store.Span
	var failure error
	var clients sync.WaitGroup
	start, url := time.Now(), b.TracesURL()
	for c := range 4 {
		clients.Go(func() {
			g := testkit.NewGenerator(uint64(c) + 1)
			g.SetTime(time.Now())
			for n := int(next.Add(1)); n <= requests; n = int(next.Add(1)) {
				batch := floods[name](g, n)
				for {
					status, err := post(url, batch)
					if err == nil && status == http.StatusOK {
						accepted.Add(1)
						mu.Lock()
						last = &batch.Spans[0]
						mu.Unlock()
						break
					}
					if err != nil || status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
						mu.Lock()
						failure = errors.Join(failure, fmt.Errorf("status %d: %w", status, err))
						mu.Unlock()
						return
					}
					refused.Add(1)
					time.Sleep(50 * time.Millisecond) // As clients do.
				}
			}
		})
	}
	clients.Wait()
	require.NoError(t, failure, name)
	require.EqualValues(t, requests, accepted.Load(), name)
	require.NotEmpty(t, harness.Spans(b.Trace(last.TraceID[:])), name)
	t.Logf("%s: %d requests accepted in %s, %d times refused for a moment", name, requests, time.Since(start).Round(time.Millisecond), refused.Load())
}

// post sends a batch and returns the status of the answer.
func post(url string, b *store.Batch) (int, error) {
	body, err := otlpspan.AppendProto(nil, b)
	if err != nil {
		return 0, err
	}
	r, err := http.Post(url, "application/x-protobuf", bytes.NewReader(body)) //nolint:noctx,gosec // The test's own server.
	if err != nil {
		return 0, err
	}
	return r.StatusCode, r.Body.Close()
}
