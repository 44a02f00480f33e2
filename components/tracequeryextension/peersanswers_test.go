package tracequeryextension

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
)

// serveNames answers every question for IPv4 addresses with these two, until the test ends, and makes it the resolver of
// this process.
func serveNames(t *testing.T, a, b [4]byte) {
	t.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := answerName(buf[:n], a, b); answer != nil {
				_, _ = conn.WriteTo(answer, from) // Who asks asks again.
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		require.NoError(t, conn.Close())
		<-done
	})
}

// answerName makes an answer (RFC 1035, section 4.1) of a question; nil if it is none.
func answerName(question []byte, addrs ...[4]byte) []byte {
	const header, typeA = 12, 1
	end := bytes.IndexByte(question[min(header, len(question)):], 0) // Of the name.
	if end < 0 || len(question) < header+end+5 {
		return nil
	}
	end += header + 5
	out := append([]byte(nil), question[:end]...)
	copy(out[2:header], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if binary.BigEndian.Uint16(question[end-4:]) != typeA {
		return out
	}
	out[7] = byte(len(addrs))
	for _, a := range addrs {
		out = append(out, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4)
		out = append(out, a[:]...)
	}
	return out
}

// someAnswers are paths of all kinds.
var someAnswers = []string{
	"/api/search?q={}", "/api/traces/00000000000000000000000000000001", "/api/metrics/query?q={}|rate()&since=1m", "/api/v2/search/tags",
	"/api/v2/search/tag/name/values",
}

// TestAgentsWithoutPeers: a name with two addresses means a second agent, and answers say that it is not asked.
func TestAgentsWithoutPeers(t *testing.T) {
	serveNames(t, [4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2})
	e := start(t, someTrace(t), func(c *Config) { c.DetectPeers = "agents.test." })
	c := client(t, http1, nil)
	require.Eventually(t, func() bool { return e.service.Notice() != "" }, time.Minute, 5*time.Millisecond)
	for _, path := range someAnswers {
		r := get(t, c, e.url(path))
		require.Contains(t, r.header.Get("Bramble-Notice"), "agents.test. has 2 agents and no peers are configured", path)
	}
	other := start(t, someTrace(t), nil)
	for _, path := range someAnswers {
		require.Empty(t, get(t, c, other.url(path)).header.Get("Bramble-Notice"), path)
	}
}

// TestOneAgentByName: a name with one address is this agent.
func TestOneAgentByName(t *testing.T) {
	same := [4]byte{10, 0, 0, 1}
	serveNames(t, same, same)
	e := start(t, someTrace(t), nil)
	e.service.Alone("before")
	e.cfg.DetectPeers = "agents.test."
	d := e.startDetection()
	defer d.close()
	require.Eventually(t, func() bool { return e.service.Notice() == "" }, time.Minute, 5*time.Millisecond)
}

// TestStrict: without an agent of the list every answer is an error that names it, and the same without strict is not.
func TestStrict(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := l.Addr().String()
	require.NoError(t, l.Close())
	c := client(t, http1, nil)
	for _, strict := range []bool{true, false} {
		e := start(t, someTrace(t), func(c *Config) {
			p := defaultPeers()
			p.Node, p.Static, p.Strict = "node-1", []string{gone}, strict
			p.Server.NetAddr.Endpoint = "127.0.0.1:0"
			p.Client.TLS.Insecure = true
			c.Peers = configoptional.Some(p)
		})
		ask := func(path string) (answer, string) {
			r := get(t, c, e.url(path))
			if strict {
				return r, r.body
			}
			return r, r.header.Get("Bramble-Missing-Nodes")
		}
		r, says := ask(someAnswers[0])
		require.Equal(t, strict, r.code == http.StatusServiceUnavailable, "the first answer, when the list may be unknown: %d %s", r.code, r.body)
		require.NotEmpty(t, says)
		require.Eventually(t, func() bool {
			_, says := ask(someAnswers[0])
			return strings.Contains(says, gone)
		}, time.Minute, 5*time.Millisecond)
		for _, path := range someAnswers {
			r, says := ask(path)
			require.Equal(t, strict, r.code == http.StatusServiceUnavailable, "%s: %d %s", path, r.code, r.body)
			require.Contains(t, says, gone, path)
		}
	}
}
