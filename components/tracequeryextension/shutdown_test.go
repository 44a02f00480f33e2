package tracequeryextension

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestShutdownIsQuick: idle connections of every protocol and clients that watch the health do not hold up a reload.
// With http.Server.Shutdown alone it takes more than a second, and with a watcher until the timeout.
func TestShutdownIsQuick(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) { c.ShutdownTimeout = time.Minute })
	require.NoError(t, e.Ready())
	get(t, client(t, http1, nil), e.url("/api/echo"))
	get(t, client(t, h2c, nil), e.url("/api/echo"))
	conn, err := grpc.NewClient(e.addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	answer, err := watch.Recv()
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, answer.GetStatus())

	began := time.Now()
	require.NoError(t, e.Shutdown(context.Background()))
	require.Less(t, time.Since(began), 900*time.Millisecond)
	for err == nil {
		_, err = watch.Recv()
	}
	require.Contains(t, []codes.Code{codes.Canceled, codes.Unavailable}, status.Code(err), "%v", err)
	require.NoError(t, e.busy.wait(t.Context()))
}

// TestRestart: the port is free again at once, as a reload needs it.
func TestRestart(t *testing.T) {
	s := someTrace(t)
	first := start(t, s, nil)
	c := client(t, http1, nil)
	require.Equal(t, 200, get(t, c, first.url("/api/echo")).code)
	require.NoError(t, first.Shutdown(context.Background()))
	require.NoError(t, first.Shutdown(context.Background()), "a second time does nothing")
	second := start(t, s, func(cfg *Config) { cfg.NetAddr.Endpoint = first.addr.String() })
	require.Equal(t, 200, get(t, c, second.url("/api/echo")).code)
}
