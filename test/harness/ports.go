package harness

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken from below the range that kernels take outgoing connections' ports from, so that none of those can
// occupy one between the look for a free port and the binary's start.
const (
	firstPort = 10000
	lastPort  = 32000
)

// taken holds the ports that this test binary gave out.
var taken sync.Map

// FreePort returns a port of 127.0.0.1 on which nobody listens, neither over TCP nor over UDP, and which was not
// returned before. Another process may still take it before it is used, which is unlikely but not excluded.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, again := taken.LoadOrStore(port, true); again {
			continue
		}
		if free(port) {
			return port
		}
	}
	tb.Fatal("no free port was found on 127.0.0.1")
	return 0
}

// FreeAddr returns "127.0.0.1:port" for a FreePort.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	return loopback(FreePort(tb))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func free(port int) bool {
	tcp, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		_ = tcp.Close() // The port is not free, whatever this says.
		return false
	}
	return errors.Join(udp.Close(), tcp.Close()) == nil
}
