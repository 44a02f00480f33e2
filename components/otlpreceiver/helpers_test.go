package otlpreceiver

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/collector/receiver/xreceiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcencoding "google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// freePort returns an address of loopback that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// sink keeps what it is given as protobuf, or refuses it. The zero value takes everything.
type sink struct {
	mu   sync.Mutex
	err  error
	got  []string
	hold func() // if set, is called first
}

var _ consumer.Traces = (*sink)(nil)

func (s *sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (s *sink) take(b []byte, err error) error {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		hold()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.err
	}
	if err == nil {
		s.got = append(s.got, string(b))
	}
	return err
}

func (s *sink) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	return s.take(ptraceotlp.NewExportRequestFromTraces(td).MarshalProto())
}

func (s *sink) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	return s.take(pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto())
}

func (s *sink) ConsumeLogs(_ context.Context, ld plog.Logs) error {
	return s.take(plogotlp.NewExportRequestFromLogs(ld).MarshalProto())
}

func (s *sink) ConsumeProfiles(_ context.Context, pd pprofile.Profiles) error {
	return s.take(pprofileotlp.NewExportRequestFromProfiles(pd).MarshalProto())
}

func (s *sink) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// refuse makes the pipeline answer with err; nil takes everything.
func (r *running) refuse(err error) {
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	r.sink.err = err
}

// running is a receiver with its consumers.
type running struct {
	sink       sink
	tel        *componenttest.Telemetry
	grpc, http string
	stop       func(context.Context) error
}

// startReceiver starts a receiver of all signals on free ports. change may edit its configuration.
func startReceiver(t *testing.T, f receiver.Factory, change func(*Config)) *running {
	t.Helper()
	cfg := f.CreateDefaultConfig().(*Config)
	g := cfg.Protocols.GRPC.GetOrInsertDefault()
	g.NetAddr.Endpoint = freePort(t)
	h := cfg.Protocols.HTTP.GetOrInsertDefault()
	h.ServerConfig.NetAddr.Endpoint = freePort(t)
	h.ServerConfig.MaxRequestBodySize = limit
	g.MaxRecvMsgSizeMiB = 1
	if change != nil {
		change(cfg)
	}
	r := &running{grpc: g.NetAddr.Endpoint, http: h.ServerConfig.NetAddr.Endpoint}
	r.tel = componenttest.NewTelemetry()
	set := receivertest.NewNopSettings(f.Type())
	set.ID = component.NewID(f.Type())
	set.TelemetrySettings = r.tel.NewTelemetrySettings()
	x, ok := f.(xreceiver.Factory)
	require.True(t, ok)
	var parts []component.Component
	add := func(c component.Component, err error) {
		require.NoError(t, err)
		parts = append(parts, c)
	}
	traces, err := f.CreateTraces(t.Context(), set, cfg, &r.sink)
	add(traces, err)
	metrics, err := f.CreateMetrics(t.Context(), set, cfg, &r.sink)
	add(metrics, err)
	logs, err := f.CreateLogs(t.Context(), set, cfg, &r.sink)
	add(logs, err)
	profiles, err := x.CreateProfiles(t.Context(), set, cfg, &r.sink)
	add(profiles, err)
	for _, p := range parts {
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	}
	r.stop = func(ctx context.Context) error {
		var errs []error
		for _, p := range parts {
			errs = append(errs, p.Shutdown(ctx))
		}
		return errors.Join(errs...)
	}
	t.Cleanup(func() {
		assert.NoError(t, r.stop(context.Background()))
		assert.NoError(t, r.tel.Shutdown(context.Background()))
	})
	return r
}

// check requires that the pipelines of two receivers were given the same, and that both have counted it the same way.
func (r *running) check(t *testing.T, other *running) {
	t.Helper()
	require.NotEmpty(t, r.sink.taken())
	assert.Equal(t, r.sink.taken(), other.sink.taken())
	assert.NotEmpty(t, r.counters(t))
	assert.Equal(t, r.counters(t), other.counters(t))
}

// counters are the receiver's own counters: by name, transport and whatever else there is.
func (r *running) counters(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, signal := range []string{"spans", "metric_points", "log_records", "profile_samples"} {
		for _, what := range []string{"accepted", "refused", "failed"} {
			name := "otelcol_receiver_" + what + "_" + signal
			m, err := r.tel.GetMetric(name)
			if err != nil {
				continue // It is not in this Collector.
			}
			sum, ok := m.Data.(metricdata.Sum[int64])
			require.True(t, ok)
			for _, p := range sum.DataPoints {
				out[name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
			}
		}
	}
	return out
}

func (r *running) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// grpcCalls send one request of each signal.
func grpcCalls() map[string]func(context.Context, *grpc.ClientConn) error {
	return map[string]func(context.Context, *grpc.ClientConn) error{
		"traces": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := ptraceotlp.NewGRPCClient(c).Export(ctx, ptraceotlp.NewExportRequestFromTraces(someTraces("x")))
			return err
		},
		"no traces": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := ptraceotlp.NewGRPCClient(c).Export(ctx, ptraceotlp.NewExportRequest())
			return err
		},
		"too much": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := ptraceotlp.NewGRPCClient(c).Export(ctx, ptraceotlp.NewExportRequestFromTraces(someTraces(strings.Repeat("x", 2<<20))))
			return err
		},
		"metrics": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := pmetricotlp.NewGRPCClient(c).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(someMetrics()))
			return err
		},
		"logs": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := plogotlp.NewGRPCClient(c).Export(ctx, plogotlp.NewExportRequestFromLogs(someLogs()))
			return err
		},
		"profiles": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := pprofileotlp.NewGRPCClient(c).Export(ctx, pprofileotlp.NewExportRequestFromProfiles(someProfiles()))
			return err
		},
	}
}

func (r *running) call(t *testing.T, refusal error, send func(context.Context, *grpc.ClientConn) error) *status.Status {
	t.Helper()
	r.refuse(refusal)
	c := r.dial(t)
	defer c.Close()
	return status.Convert(send(t.Context(), c))
}

// rawCodec sends bytes as they are.
type rawCodec struct{ grpcencoding.CodecV2 }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

func (r *running) raw(t *testing.T, b []byte) *status.Status {
	t.Helper()
	r.refuse(nil)
	c := r.dial(t)
	defer c.Close()
	return status.Convert(c.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", b, new([]byte), grpc.ForceCodecV2(rawCodec{})))
}

// serveTraces starts a receiver of traces over HTTP and returns its address.
func serveTraces(tb testing.TB, f receiver.Factory, next consumer.Traces) string {
	tb.Helper()
	cfg := f.CreateDefaultConfig().(*Config)
	h := cfg.Protocols.HTTP.GetOrInsertDefault()
	h.ServerConfig.NetAddr.Endpoint = freePort(tb)
	r, err := f.CreateTraces(tb.Context(), receivertest.NewNopSettings(f.Type()), cfg, next)
	require.NoError(tb, err)
	require.NoError(tb, r.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, r.Shutdown(context.Background())) })
	return h.ServerConfig.NetAddr.Endpoint
}
