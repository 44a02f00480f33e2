package plane

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// isolatedVariable tells the test binary that it runs in a network of its own.
const isolatedVariable = "BRAMBLE_TEST_ISOLATED"

// PeerAddress is an address at which nobody listens, in the network that Isolate makes. API servers refuse loopback in an
// EndpointSlice.
const PeerAddress = "192.0.2.13"

// Isolate runs the test binary again in a network namespace with nothing but loopback and PeerAddress, so that no packet of a
// test leaves the machine. It is for TestMain. Without root, or without the programs, it returns.
func Isolate() {
	if isolated() || os.Getuid() != 0 {
		return
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return
	}
	if _, err = exec.LookPath("ip"); err != nil {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	const script = `ip link set lo up && ip address add ` + PeerAddress + `/32 dev lo && exec "$0" "$@"`
	err = syscall.Exec(unshare, append([]string{"unshare", "--net", "sh", "-c", script, self}, os.Args[1:]...), append(os.Environ(), isolatedVariable+"=1"))
	fmt.Fprintln(os.Stderr, "run again in a network of its own:", err)
}

// isolated reports whether Isolate has worked.
func isolated() bool { return os.Getenv(isolatedVariable) != "" }
