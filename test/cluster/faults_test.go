package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// quiet leaves out metrics, which the shipped configuration serves on a fixed port.
var quiet = harness.Set("service::telemetry::metrics::level", "none")

// fault is something that happens to one agent under load.
type fault struct {
	name string
	// begin and end make and mend it.
	begin, end func(t *testing.T, b *harness.Bramble)
	// missing says that answers must be without the agent and name it.
	missing bool
}

var faults = []fault{
	{"kill", func(_ *testing.T, b *harness.Bramble) { b.Kill() }, func(_ *testing.T, b *harness.Bramble) { b.Restart() }, true},
	{"pause", func(_ *testing.T, b *harness.Bramble) { b.Signal(syscall.SIGSTOP) }, func(_ *testing.T, b *harness.Bramble) { b.Signal(syscall.SIGCONT) }, true},
	{"restart", func(_ *testing.T, b *harness.Bramble) { b.Stop() }, func(_ *testing.T, b *harness.Bramble) { b.Restart() }, true},
	{"slow", func(t *testing.T, b *harness.Bramble) { slow(t, b, 10*time.Second) }, func(*testing.T, *harness.Bramble) {}, false},
}

// slow lets an agent run for a tenth of the time.
func slow(t *testing.T, b *harness.Bramble, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		b.Signal(syscall.SIGSTOP)
		time.Sleep(180 * time.Millisecond)
		b.Signal(syscall.SIGCONT)
		time.Sleep(20 * time.Millisecond)
	}
}

// TestFaults does to one of three agents what happens to nodes, under load and with the shipped configuration. The others
// take spans all the time; answers name the agent while it is away; without help it is back when the fault is over; and
// no acknowledged span is missing then.
func TestFaults(t *testing.T) {
	c := harness.StartCluster(t, 3, harness.Config{Files: []string{"config/cluster.yaml"}, Overlay: quiet})
	testFaults(t, c, faults)
}

func testFaults(t *testing.T, c *harness.Cluster, list []fault) {
	t.Helper()
	l := startLoad(t, c)
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) { underFault(t, c, l, f) })
	}
	l.end()
	missing, examples := l.acks.Missing(t, c.Agents[0])
	require.Zero(t, missing, "of %d acknowledged spans are missing, such as %v", l.acks.Spans(), examples)
	t.Logf("%d spans of %d traces were acknowledged, %d are missing; %d attempts of clients failed", l.acks.Spans(), l.acks.Traces(), missing, l.failed.Load())
}

func underFault(t *testing.T, c *harness.Cluster, l *load, f fault) {
	t.Helper()
	victim := c.Agents[2]
	l.waitFor(t, 3000)
	began := time.Now()
	f.begin(t, victim)
	noticed := time.Duration(0)
	if f.missing {
		for _, a := range c.Agents[:2] {
			harness.Poll(t, time.Minute, "answers without node-3", func() error { return namesMissing(a, "node-3") })
		}
		noticed = time.Since(began)
	}
	l.waitFor(t, 3000)
	took := time.Since(began)
	f.end(t, victim)
	mended := time.Now()
	c.WaitWhole(t)
	t.Logf("answers named the node after %s at most; 3000 more spans were acknowledged after %s; whole again %s after the end",
		noticed.Round(time.Millisecond), took.Round(time.Millisecond), time.Since(mended).Round(time.Millisecond))
	for _, a := range c.Agents {
		require.Error(t, namesMissing(a, ""))
	}
}

// namesMissing checks that every kind of answer is without exactly this node, and says so.
func namesMissing(b *harness.Bramble, node string) error {
	for _, path := range []string{
		"/api/v2/traces/00000000000000000000000000000001", "/api/search?q={}", "/api/metrics/query?q={}|rate()&since=1m",
		"/api/v2/search/tags", "/api/v2/search/tag/resource.service.name/values",
	} {
		r, err := b.TryGet(path)
		if err != nil {
			return err
		}
		if r.Status != http.StatusOK {
			return fmt.Errorf("%s: status %d: %.200s", path, r.Status, r.Body)
		}
		got := r.Header.Get("Bramble-Missing-Nodes")
		if got == "" {
			return errors.New(path + ": the answer names no missing node")
		}
		if got != node {
			return fmt.Errorf("%s: the answer names %q as missing", path, got)
		}
	}
	return nil
}
