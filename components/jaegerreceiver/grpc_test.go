package jaegerreceiver

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// protoBatch has one span.
func protoBatch() *api_v2.PostSpansRequest {
	return &api_v2.PostSpansRequest{Batch: model.Batch{
		Process: &model.Process{ServiceName: "s"},
		Spans:   []*model.Span{{TraceID: model.NewTraceID(1, 2), SpanID: 3, OperationName: "o", StartTime: time.Unix(1795785690, 0)}},
	}}
}

func dialGRPC(t *testing.T, addr string) api_v2.CollectorServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return api_v2.NewCollectorServiceClient(conn)
}

// TestPostSpans holds the answers over gRPC: what may be sent again, and what not.
func TestPostSpans(t *testing.T) {
	for _, tc := range []struct {
		name   string
		batch  *api_v2.PostSpansRequest
		refuse error
		code   codes.Code
		passed int
	}{
		{"a batch", protoBatch(), nil, codes.OK, 1},
		{"no spans", &api_v2.PostSpansRequest{}, nil, codes.OK, 0},
		{"no process", &api_v2.PostSpansRequest{Batch: model.Batch{Spans: protoBatch().Batch.Spans}}, nil, codes.OK, 1},
		{"refused for now", protoBatch(), errors.New("full"), codes.Unavailable, 0},
		{"refused for good", protoBatch(), consumererror.NewPermanent(errors.New("deep")), codes.InvalidArgument, 0},
		{"refused with a status", protoBatch(), status.Error(codes.ResourceExhausted, "slow down"), codes.ResourceExhausted, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := &sink{refuse: tc.refuse}
			tel, r := start(t, map[string]any{"protocols": map[string]any{"grpc": map[string]any{"endpoint": "127.0.0.1:0"}}}, next)
			_, err := dialGRPC(t, r.grpc.serving.Addr().String()).PostSpans(t.Context(), tc.batch)
			assert.Equal(t, tc.code, status.Code(err), "%v", err)
			if tc.refuse != nil {
				require.ErrorContains(t, err, status.Convert(tc.refuse).Message())
				_, err := tel.GetMetric("otelcol_receiver_refused_spans")
				require.NoError(t, err)
			}
			assert.Equal(t, tc.passed, next.count())
			if tc.passed > 0 {
				assert.Equal(t, "o", next.traces[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name())
				assert.NotNil(t, next.addrs[0], "k8s_attributes looks at the connection")
			}
		})
	}
}

// TestCallsWaitForReload: who calls while no receiver is there is answered by the next one.
func TestCallsWaitForReload(t *testing.T) {
	procstate.Default.SetGrace(time.Hour)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config).Protocols.GRPC.GetOrInsertDefault()
	cfg.NetAddr.Endpoint = l.Addr().String()
	require.NoError(t, l.Close())
	next := &sink{}
	client := dialGRPC(t, cfg.NetAddr.Endpoint)
	var answers []chan error
	call := func() {
		answer := make(chan error, 1)
		answers = append(answers, answer)
		go func() {
			_, err := client.PostSpans(t.Context(), protoBatch()) // It does not wait for a connection that is refused.
			answer <- err
		}()
	}
	for range 3 {
		s, err := newGRPCServer(receivertest.NewNopSettings(metadata.Type), cfg, next)
		require.NoError(t, err)
		require.NoError(t, s.start(t.Context(), componenttest.NewNopHost()))
		call()
		for _, a := range answers {
			require.NoError(t, <-a)
		}
		answers = nil
		require.NoError(t, s.stop(context.Background()))
		require.NoError(t, s.stop(context.Background()), "a second time does nothing")
		call()
	}
	s, err := newGRPCServer(receivertest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(t, err)
	require.NoError(t, s.start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, <-answers[0])
	require.NoError(t, s.stop(context.Background()))
	assert.Equal(t, 6, next.count())
}
