package keptport

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/confignet"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// reloading keeps ports until the test ends, as the main package does.
func reloading(t *testing.T) {
	t.Helper()
	procstate.Default.SetGrace(time.Hour)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
}

// freePort returns a host:port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

func tcp(endpoint string) *confignet.AddrConfig {
	return &confignet.AddrConfig{Transport: confignet.TransportTypeTCP, Endpoint: endpoint}
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), addr.Network(), addr.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// meet requires that what is accepted next is the connection c.
func meet(t *testing.T, l net.Listener, c net.Conn) {
	t.Helper()
	other, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = other.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
}

// TestConnectionsWait: who connects between two turns is accepted by the second one. On TCP and in the file system.
func TestConnectionsWait(t *testing.T) {
	for name, addr := range map[string]*confignet.AddrConfig{
		"tcp":  tcp(freePort(t)),
		"unix": {Transport: confignet.TransportTypeUnix, Endpoint: filepath.Join(t.TempDir(), "s")},
	} {
		t.Run(name, func(t *testing.T) {
			reloading(t)
			first, release, err := Listen(t.Context(), addr, "a")
			require.NoError(t, err)
			meet(t, first, dial(t, first.Addr()))
			ended := make(chan error, 1)
			go func() { _, err := first.Accept(); ended <- err }()
			require.NoError(t, first.Close())
			require.ErrorIs(t, <-ended, net.ErrClosed)
			require.NoError(t, first.Close(), "a second time does nothing")
			require.NoError(t, release())

			early := dial(t, first.Addr())
			second, release, err := Listen(t.Context(), addr, "b")
			require.NoError(t, err)
			meet(t, second, early)
			_, err = first.Accept()
			require.ErrorIs(t, err, net.ErrClosed, "a turn that has ended stays so")
			require.NoError(t, second.Close())
			require.NoError(t, release())
		})
	}
}

// TestAcceptedLate: a connection that Accept took while the turn was being closed is the next one's.
func TestAcceptedLate(t *testing.T) {
	reloading(t)
	addr := tcp(freePort(t))
	for range 200 {
		l, release, err := Listen(t.Context(), addr, "a")
		require.NoError(t, err)
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				c = nil
			}
			accepted <- c
		}()
		c := dial(t, l.Addr()) // It meets Close, now and then.
		require.NoError(t, l.Close())
		first := <-accepted
		require.NoError(t, release())
		if first != nil {
			_ = first.Close()
		} else {
			next, release, err := Listen(t.Context(), addr, "a")
			require.NoError(t, err)
			meet(t, next, c)
			require.NoError(t, next.Close())
			require.NoError(t, release())
		}
		_ = c.Close()
	}
}

// TestOneUser: a second user of an address is an error that names the first, and leaves it its port.
func TestOneUser(t *testing.T) {
	reloading(t)
	addr := tcp(freePort(t))
	l, release, err := Listen(t.Context(), addr, "receiver otlp")
	require.NoError(t, err)
	_, _, err = Listen(t.Context(), addr, "receiver otlp/2")
	require.ErrorContains(t, err, "is used by receiver otlp already")
	meet(t, l, dial(t, l.Addr()))
	require.NoError(t, l.Close())
	require.NoError(t, release())
	l, release, err = Listen(t.Context(), addr, "receiver otlp/2")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, release())
}

// TestWithoutSuccessor: outside of reloads the port is closed at once, and so is one of the kernel's choice.
func TestWithoutSuccessor(t *testing.T) {
	for _, endpoint := range []string{freePort(t), "127.0.0.1:0"} {
		l, release, err := Listen(t.Context(), tcp(endpoint), "a")
		require.NoError(t, err)
		waiting := dial(t, l.Addr())
		require.NoError(t, l.Close())
		require.NoError(t, release())
		_, err = waiting.Read(make([]byte, 1))
		require.Error(t, err)
		_, err = new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		require.Error(t, err)
	}
}

// TestSamePortOnAnotherHost: a kept port is not in the way of one that replaces it, one of somebody else is.
func TestSamePortOnAnotherHost(t *testing.T) {
	reloading(t)
	endpoint := freePort(t)
	_, number, err := net.SplitHostPort(endpoint)
	require.NoError(t, err)
	l, release, err := Listen(t.Context(), tcp(endpoint), "a")
	require.NoError(t, err)
	_, _, err = Listen(t.Context(), tcp("0.0.0.0:"+number), "b")
	require.Error(t, err, "while it is used")
	require.NoError(t, l.Close())
	require.NoError(t, release())
	l, release, err = Listen(t.Context(), tcp("0.0.0.0:"+number), "b")
	require.NoError(t, err)
	meet(t, l, dial(t, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.Addr().(*net.TCPAddr).Port}))
	require.NoError(t, l.Close())
	require.NoError(t, release())
}

// TestSilentConnections: those that sent nothing are closed, others are not.
func TestSilentConnections(t *testing.T) {
	l, release, err := Listen(t.Context(), tcp("127.0.0.1:0"), "a")
	require.NoError(t, err)
	quiet, loud := dial(t, l.Addr()), dial(t, l.Addr())
	_, err = loud.Write([]byte("x"))
	require.NoError(t, err)
	var accepted []net.Conn
	for range 2 {
		c, err := l.Accept()
		require.NoError(t, err)
		accepted = append(accepted, c)
	}
	for _, c := range accepted {
		if c.RemoteAddr().String() == loud.LocalAddr().String() {
			_, err := c.Read(make([]byte, 1)) // So it has arrived.
			require.NoError(t, err)
		}
	}
	l.CloseSilent()
	_, err = quiet.Read(make([]byte, 1))
	require.Error(t, err)
	for _, c := range accepted {
		if c.RemoteAddr().String() == loud.LocalAddr().String() {
			_, err := c.Write([]byte("y"))
			require.NoError(t, err)
		}
	}
	_, err = loud.Read(make([]byte, 1))
	require.NoError(t, err)
	l.CloseRecent()
	_, err = loud.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, release())
}

func TestCannotListen(t *testing.T) {
	_, _, err := Listen(context.Background(), tcp("192.0.2.1:4318"), "a") // Of nobody (RFC 5737).
	require.Error(t, err)
}
