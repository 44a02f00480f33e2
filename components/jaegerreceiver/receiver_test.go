package jaegerreceiver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadatatest"
)

// sink is the pipeline behind the receiver: it keeps what it gets, and waits or refuses when it is told to.
type sink struct {
	mu     sync.Mutex
	traces []ptrace.Traces
	addrs  []net.Addr
	refuse error
	hold   chan struct{} // nil: do not wait
}

func (*sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (s *sink) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.traces = append(s.traces, td)
	s.addrs = append(s.addrs, client.FromContext(ctx).Addr)
	return nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.traces)
}

// start runs a receiver with the given configuration, and returns what it reports and the addresses of its listeners.
func start(t *testing.T, config map[string]any, next consumer.Traces) (*componenttest.Telemetry, *jaegerReceiver) {
	t.Helper()
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(config).Unmarshal(cfg))
	tel := componenttest.NewTelemetry()
	set := receivertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	r, err := NewFactory().CreateTraces(t.Context(), set, cfg, next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, r.Shutdown(context.Background()))
		require.NoError(t, tel.Shutdown(context.Background()))
	})
	return tel, r.(*jaegerReceiver)
}

// udp is the configuration of one listener at a free port.
func udp(name string, more map[string]any) map[string]any {
	c := map[string]any{"endpoint": "127.0.0.1:0"}
	maps.Copy(c, more)
	return map[string]any{"protocols": map[string]any{name: c}}
}

func (l *listener) send(t *testing.T, packets ...[]byte) {
	t.Helper()
	conn, err := net.Dial("udp", l.conn.LocalAddr().String())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	for _, p := range packets {
		_, err := conn.Write(p)
		require.NoError(t, err)
	}
}

// eventually calls f until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool { err = f(); return err == nil }, 30*time.Second, 5*time.Millisecond, "%v", err)
}

// dropped returns how many packets were dropped for a reason.
func dropped(t *testing.T, tel *componenttest.Telemetry, transport string, reason dropReason) int64 {
	t.Helper()
	m, err := tel.GetMetric("otelcol_jaeger_udp_dropped_packets")
	if err != nil {
		return 0 // Nothing was counted yet.
	}
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		got, _ := p.Attributes.Value("reason")
		from, _ := p.Attributes.Value("transport")
		if got.AsString() == string(reason) && from.AsString() == transport {
			return p.Value
		}
	}
	return 0
}

// TestPackets sends what the stock receiver dies of, garbage, and then a good batch, to both listeners.
func TestPackets(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			next := &sink{}
			tel, r := start(t, udp(name, map[string]any{"max_packet_size": 1000}), next)
			require.Len(t, r.listeners, 1)
			l := r.listeners[0]
			for _, step := range []struct {
				packet []byte
				reason dropReason
			}{
				{nil, malformed},
				{call(t, protocol, emitZipkin(nil)), unsupported},
				{make([]byte, 1001), tooLarge},
			} {
				l.send(t, step.packet)
				eventually(t, func() error {
					if n := dropped(t, tel, l.transport, step.reason); n != 1 {
						return fmt.Errorf("%s: %d packets", step.reason, n)
					}
					return nil
				})
			}
			good := call(t, protocol, emitBatch(batch()))
			l.send(t, good)
			eventually(t, func() error {
				if next.count() != 1 {
					return errors.New("the good batch is not there")
				}
				return nil
			})
			host, _, err := net.SplitHostPort(next.addrs[0].String())
			require.NoError(t, err)
			assert.Equal(t, "127.0.0.1", host, "processors see the client's address")
			eventually(t, func() error {
				m, err := tel.GetMetric("otelcol_receiver_accepted_spans")
				if err != nil {
					return err
				}
				if n := m.Data.(metricdata.Sum[int64]).DataPoints[0].Value; n != 1 {
					return fmt.Errorf("%d spans accepted", n)
				}
				return nil
			})
			metadatatest.AssertEqualJaegerUDPDroppedPackets(t, tel, []metricdata.DataPoint[int64]{
				{Value: 1, Attributes: attribute.NewSet(attribute.String("transport", l.transport), attribute.String("reason", "malformed"))},
				{Value: 1, Attributes: attribute.NewSet(attribute.String("transport", l.transport), attribute.String("reason", "unsupported"))},
				{Value: 1, Attributes: attribute.NewSet(attribute.String("transport", l.transport), attribute.String("reason", "too_large"))},
			}, metricdatatest.IgnoreTimestamp())
		})
	}
}

// TestRefused: what the pipeline refuses is counted as refused spans, and the next batch is taken.
func TestRefused(t *testing.T) {
	next := &sink{refuse: errors.New("full")}
	tel, r := start(t, udp("thrift_compact", nil), next)
	packet := call(t, compactProtocol, emitBatch(batch()))
	r.listeners[0].send(t, packet)
	eventually(t, func() error {
		_, err := tel.GetMetric("otelcol_receiver_failed_spans")
		if err != nil {
			_, err = tel.GetMetric("otelcol_receiver_refused_spans")
		}
		return err
	})
	next.mu.Lock()
	next.refuse = nil
	next.mu.Unlock()
	r.listeners[0].send(t, packet)
	eventually(t, func() error {
		if next.count() != 1 {
			return errors.New("the second batch is not there")
		}
		return nil
	})
}

// TestQueueFull holds the pipeline: the packets that do not fit into the queue are counted, and those that do are passed
// on, also when the receiver is shut down meanwhile.
func TestQueueFull(t *testing.T) {
	next := &sink{hold: make(chan struct{})}
	tel, r := start(t, udp("thrift_compact", map[string]any{"queue_size": 2, "workers": 1}), next)
	l := r.listeners[0]
	packet := call(t, compactProtocol, emitBatch(batch()))
	eventually(t, func() error {
		l.send(t, packet)
		if n := dropped(t, tel, l.transport, queueFull); n < 3 {
			return fmt.Errorf("%d packets were dropped", n)
		}
		return nil
	})
	done := make(chan error)
	go func() { done <- r.Shutdown(context.Background()) }()
	close(next.hold)
	require.NoError(t, <-done)
	assert.Equal(t, 3, next.count(), "one was with the worker, two were in the queue")
}

// TestStartErrors: an address in use is an error that names it, and what was started is stopped again.
func TestStartErrors(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"thrift_binary": map[string]any{"endpoint": "127.0.0.1:0"}, "thrift_compact": map[string]any{"endpoint": taken.LocalAddr().String()},
	}}).Unmarshal(cfg))
	r, err := NewFactory().CreateTraces(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, &sink{})
	require.NoError(t, err)
	require.ErrorContains(t, r.Start(t.Context(), componenttest.NewNopHost()), taken.LocalAddr().String())
	require.NoError(t, r.Shutdown(t.Context()))
	require.NoError(t, r.Shutdown(t.Context()), "a second time does nothing")
}

// TestProtocols: what is not configured is not started.
func TestProtocols(t *testing.T) {
	_, r := start(t, map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": "127.0.0.1:0"}, "thrift_http": map[string]any{"endpoint": "127.0.0.1:0"},
		"thrift_binary": map[string]any{"endpoint": "127.0.0.1:0"}, "thrift_compact": map[string]any{"endpoint": "127.0.0.1:0"},
	}}, &sink{})
	assert.NotNil(t, r.grpc)
	assert.NotNil(t, r.http)
	assert.Len(t, r.listeners, 2)

	_, r = start(t, udp("thrift_compact", nil), &sink{})
	assert.Nil(t, r.grpc)
	assert.Nil(t, r.http)
	var _ receiver.Traces = r
}
