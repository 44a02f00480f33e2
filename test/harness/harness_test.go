package harness

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestLayoutMovesEveryListener(t *testing.T) {
	data := t.TempDir()
	l := newLayout(t, []string{`yaml:
receivers:
  otlp: {protocols: {grpc: , http: {endpoint: "0.0.0.0:4318"}}}
  otlp/grpc-only: {protocols: {grpc: {max_recv_msg_size_mib: 32}}}
  jaeger: {protocols: {thrift_compact: }}
  zipkin:
exporters:
  prometheus/red: {endpoint: "0.0.0.0:8889"}
  otlp: {endpoint: "tempo:4317"}
extensions:
  trace_store/a: {directory: /var/lib/bramble}
  health_check: {endpoint: "${env:POD_IP}:13133"}
`, `yaml:
service: {telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 0.0.0.0, port: 8888, without_units: true}}}}]}}}
`}, data, "127.0.0.1")

	var got []string
	for key, addr := range l.addrs {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.1", host)
		got = append(got, key)
	}
	assert.ElementsMatch(t, []string{
		"receivers::otlp::protocols::grpc", "receivers::otlp::protocols::http", "receivers::otlp/grpc-only::protocols::grpc",
		"receivers::jaeger::protocols::thrift_compact", "receivers::zipkin", "exporters::prometheus/red", "extensions::health_check",
		"service::telemetry::metrics",
	}, got)
	assert.Equal(t, l.addrs["receivers::zipkin"], branch(l.overlay, "receivers", "zipkin")["endpoint"])
	assert.Equal(t, l.addrs["receivers::otlp::protocols::grpc"], branch(l.overlay, "receivers", "otlp", "protocols", "grpc")["endpoint"])
	assert.NotContains(t, branch(l.overlay, "exporters"), "otlp", "where a client sends to stays")
	dir := branch(l.overlay, "extensions", "trace_store/a")["directory"]
	assert.Equal(t, filepath.Join(data, "trace_store_a"), dir)
	assert.DirExists(t, filepath.Join(data, "trace_store_a"))
	readers, ok := branch(l.overlay, "service", "telemetry", "metrics")["readers"].([]any)
	require.True(t, ok)
	require.Len(t, readers, 1)
	prometheus := branch(readers[0].(tree), "pull", "exporter", "prometheus")
	assert.Equal(t, "127.0.0.1", prometheus["host"])
	assert.Equal(t, true, prometheus["without_units"], "other settings stay")

	arg := l.argument(t, Set("receivers::zipkin::endpoint", "mine", "exporters::otlp::endpoint", "mine too"))
	cfg := readConfig(t, arg)
	assert.Equal(t, "mine", branch(cfg, "receivers", "zipkin")["endpoint"], "the test's overlay wins")
	assert.Equal(t, "mine too", branch(cfg, "exporters", "otlp")["endpoint"])
}

func TestFreePortsAreFreeAndDistinct(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		p := FreePort(t)
		assert.False(t, seen[p])
		seen[p] = true
	}
}

func TestLog(t *testing.T) {
	l := NewLog()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.WaitFor(ctx, "two") }()
	_, _ = l.Write([]byte("one\nthe t"))
	_, _ = l.Write([]byte("wo\nthree"))
	require.NoError(t, <-done)
	assert.Equal(t, []string{"the two"}, l.Lines("two", "the"))
	assert.Equal(t, "the two\nthree", l.Tail(2))
	cancel()
	require.ErrorIs(t, l.WaitFor(ctx, "four"), context.Canceled)
}

func TestPollGivesUp(t *testing.T) {
	sentinel := errors.New("not yet")
	require.ErrorIs(t, poll(t.Context(), time.Millisecond, func() error { return sentinel }), sentinel)
	n := 0
	require.NoError(t, poll(t.Context(), time.Minute, func() error {
		if n++; n < 3 {
			return sentinel
		}
		return nil
	}))
}

func TestDecodeTraceByID(t *testing.T) {
	empty := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil)
	td, err := decodeTraceByID(empty)
	require.NoError(t, err)
	assert.Empty(t, td.GetResourceSpans())

	_, err = decodeTraceByID(nil)
	require.ErrorContains(t, err, "T-02")
	_, err = decodeTraceByID(protowire.AppendVarint(protowire.AppendTag(empty, 3, protowire.VarintType), 1))
	require.ErrorContains(t, err, "partial")
	_, err = decodeTraceByID([]byte{0xff})
	require.Error(t, err)
}

func TestAcksCountSpansOnce(t *testing.T) {
	var a Acks
	a.Add([16]byte{1}, [8]byte{1})
	a.Add([16]byte{1}, [8]byte{1})
	a.Add([16]byte{1}, [8]byte{2})
	a.Add([16]byte{2}, [8]byte{1})
	assert.Equal(t, 3, a.Spans())
	assert.Equal(t, 2, a.Traces())
}

func TestBinaryIsNamedByTheEnvironment(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bramble")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	t.Setenv("BRAMBLE_BIN", name)
	assert.Equal(t, name, Binary(t))
}
