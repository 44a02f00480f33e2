package e2e

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestStartFigures measures the time from start to ready and the memory of a process that nobody uses, and prints them:
// bench/README.md quotes them. The bounds are far from what is measured on an idle machine.
func TestStartFigures(t *testing.T) {
	b := local(t)
	var ready []time.Duration
	var rss []int
	for range 5 {
		ready = append(ready, b.ReadyAfter)
		rss = append(rss, residentKiB(t, b.PID()))
		b.Stop()
		b.Restart()
	}
	slices.Sort(ready)
	slices.Sort(rss)
	t.Logf("time to ready: median %s of 5 (%s to %s)", ready[2].Round(time.Millisecond), ready[0].Round(time.Millisecond), ready[4].Round(time.Millisecond))
	t.Logf("idle RSS: median %d MiB of 5 (%d to %d)", rss[2]>>10, rss[0]>>10, rss[4]>>10)
	assert.Less(t, ready[2], 15*time.Second)
	assert.Less(t, rss[2], 300<<10)
}

// residentKiB returns the resident memory of a process in KiB, or skips the test where there is no /proc.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		t.Skip("memory is read from /proc, which needs Linux")
	}
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var kib int
		if strings.HasPrefix(lines.Text(), "VmRSS:") {
			_, err := fmt.Sscanf(lines.Text(), "VmRSS: %d kB", &kib)
			require.NoError(t, err)
			return kib
		}
	}
	t.Fatalf("/proc/%d/status has no VmRSS", pid)
	return 0
}

// TestReadyMeansReady sends a span at the moment when /ready answers 200, without a second try.
func TestReadyMeansReady(t *testing.T) {
	for range 3 {
		b := local(t)
		td := everyField(t)
		sendGRPC(t, b, td)
		require.NotNil(t, b.Trace(harness.Spans(td)[0].GetTraceId()))
		b.Stop()
	}
}
