package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Telemetrygen is a running load generator.
type Telemetrygen struct {
	Log *Log

	tb     testing.TB
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// StartTelemetrygen runs `telemetrygen traces` with the arguments, without TLS. The generator is the file that the
// environment variable TELEMETRYGEN_BIN names, or build/telemetrygen; where it is missing the test is skipped, unless
// BRAMBLE_FULL is set. The test's cleanup kills it.
func StartTelemetrygen(tb testing.TB, args ...string) *Telemetrygen {
	tb.Helper()
	bin := os.Getenv("TELEMETRYGEN_BIN")
	if bin == "" {
		bin = Root(tb, "build", "telemetrygen")
	}
	bin, err := filepath.Abs(bin)
	require.NoError(tb, err)
	if _, err := os.Stat(bin); err != nil {
		if os.Getenv("BRAMBLE_FULL") != "" {
			tb.Fatalf("telemetrygen is missing: run `make build/telemetrygen`: %v", err)
		}
		tb.Skipf("telemetrygen is missing: run `make build/telemetrygen`: %v", err)
	}
	g := &Telemetrygen{Log: NewLog(), tb: tb, exited: make(chan struct{})}
	g.cmd = exec.Command(bin, append([]string{"traces", "--otlp-insecure"}, args...)...) //nolint:gosec // The pinned tool.
	g.cmd.Stdout, g.cmd.Stderr = g.Log, g.Log
	g.cmd.SysProcAttr = dieWithParent()
	require.NoError(tb, g.cmd.Start())
	go func() {
		g.err = g.cmd.Wait()
		close(g.exited)
	}()
	tb.Cleanup(g.Kill)
	return g
}

// Wait returns when the generator has sent everything and ended well.
func (g *Telemetrygen) Wait(timeout time.Duration) {
	g.tb.Helper()
	select {
	case <-g.exited:
	case <-time.After(timeout):
		g.tb.Fatalf("telemetrygen did not end within %s\n%s", timeout, g.Log.Tail(20))
	}
	require.NoError(g.tb, g.err, "telemetrygen %s\n%s", strings.Join(g.cmd.Args[1:], " "), g.Log.Tail(20))
}

// Kill ends the generator, if it runs, and waits for it.
func (g *Telemetrygen) Kill() {
	_ = g.cmd.Process.Kill() // It may have ended meanwhile.
	<-g.exited
}
