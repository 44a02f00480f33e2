package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// network is a bridge with a network namespace for each of three agents, and this process on the bridge.
type network struct {
	prefix string
	places []harness.Place
}

// newNetwork makes the namespaces, or skips the test and says why.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a partition needs Linux's network namespaces, and root to make them")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("a partition needs ip (Debian: iproute2)")
	}
	pid := os.Getpid()
	n := &network{prefix: fmt.Sprintf("brt%d", pid%100_000)} // Names of interfaces have 15 bytes at most.
	subnet := fmt.Sprintf("10.%d.%d", 128+pid/250%120, pid%250)
	t.Cleanup(n.remove)
	bridge := n.prefix + "b"
	if out, err := ip("link", "add", bridge, "type", "bridge"); err != nil {
		t.Skipf("no network can be made here: %v: %s", err, out)
	}
	must(t, "addr", "add", subnet+".254/24", "dev", bridge)
	must(t, "link", "set", bridge, "up")
	for i := range 3 {
		name, host := n.namespace(i), fmt.Sprintf("%s.%d", subnet, i+1)
		if out, err := ip("netns", "add", name); err != nil {
			t.Skipf("no network namespace can be made here: %v: %s", err, out)
		}
		must(t, "link", "add", n.cable(i), "type", "veth", "peer", "name", "eth0", "netns", name)
		must(t, "link", "set", n.cable(i), "master", bridge)
		must(t, "link", "set", n.cable(i), "up")
		must(t, "-n", name, "addr", "add", host+"/24", "dev", "eth0")
		must(t, "-n", name, "link", "set", "eth0", "up")
		must(t, "-n", name, "link", "set", "lo", "up")
		n.places = append(n.places, harness.Place{Host: host, Wrap: []string{"ip", "netns", "exec", name}})
	}
	return n
}

// namespace names the namespace of the i-th agent, and cable the end of its cable at the bridge.
func (n *network) namespace(i int) string { return fmt.Sprintf("%sn%d", n.prefix, i+1) }
func (n *network) cable(i int) string     { return fmt.Sprintf("%sv%d", n.prefix, i+1) }

// remove takes down what newNetwork made. The cables go with their namespaces once no process is in there.
func (n *network) remove() {
	for i := range 3 {
		_, _ = ip("link", "del", n.cable(i)) // What is not there need not be removed.
		_, _ = ip("netns", "del", n.namespace(i))
	}
	_, _ = ip("link", "del", n.prefix+"b")
}

// plug puts the i-th agent's cable in or out.
func (n *network) plug(t *testing.T, i int, in bool) {
	t.Helper()
	must(t, "link", "set", n.cable(i), map[bool]string{true: "up", false: "down"}[in])
}

func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func must(t *testing.T, args ...string) {
	t.Helper()
	out, err := ip(args...)
	require.NoError(t, err, "ip %s: %s", strings.Join(args, " "), out)
}

// TestPartition cuts one of three agents off from the others and from clients, each in a network namespace of its own,
// under load and with the shipped configuration. No packet says that it is gone: what was sent to it is not answered.
func TestPartition(t *testing.T) {
	n := newNetwork(t)
	c := harness.StartClusterAt(t, n.places, harness.Config{Files: []string{"config/cluster.yaml"}, Overlay: quiet})
	testFaults(t, c, []fault{{
		"partition",
		func(t *testing.T, _ *harness.Bramble) { n.plug(t, 2, false) },
		func(t *testing.T, _ *harness.Bramble) { n.plug(t, 2, true) },
		true,
	}})
}
