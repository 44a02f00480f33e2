package tracequeryextension

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/components/tracequeryextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/jaegerpb"
)

func TestJaegerConfig(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.False(t, cfg.Jaeger.HTTP.HasValue(), "off by default")
	require.False(t, cfg.Jaeger.GRPC.HasValue())

	require.NoError(t, confmap.NewFromStringMap(map[string]any{"jaeger": map[string]any{"http": nil, "grpc": nil}}).Unmarshal(cfg))
	require.Equal(t, "localhost:16686", cfg.Jaeger.HTTP.Get().NetAddr.Endpoint)
	require.Equal(t, "localhost:16685", cfg.Jaeger.GRPC.Get().NetAddr.Endpoint)
	require.NoError(t, confmap.Validate(cfg))

	empty := map[string]any{"endpoint": ""}
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"jaeger": map[string]any{"http": empty, "grpc": empty}}).Unmarshal(cfg))
	err := confmap.Validate(cfg)
	require.ErrorContains(t, err, "jaeger: http::endpoint: must not be empty")
	require.ErrorContains(t, err, "grpc::endpoint: must not be empty")
	for endpoint, says := range map[string]string{
		"localhost": `must be host:port, for example localhost:16686, is "localhost"`, "localhost:99999": `from 0 to 65535, is "99999"`,
		"localhost:x": `from 0 to 65535, is "x"`,
	} {
		bad := map[string]any{"endpoint": endpoint}
		require.NoError(t, confmap.NewFromStringMap(map[string]any{"jaeger": map[string]any{"http": bad}, "endpoint": endpoint}).Unmarshal(cfg))
		require.ErrorContains(t, confmap.Validate(cfg), "jaeger: http::endpoint: ")
		require.ErrorContains(t, confmap.Validate(cfg), says)
	}
	require.ErrorContains(t, confmap.NewFromStringMap(map[string]any{"jaeger": map[string]any{"htpp": nil}}).Unmarshal(cfg), "htpp")
}

// withJaeger listens on free ports, with authentication if it is asked for.
func withJaeger(auth bool) func(*Config) {
	return func(c *Config) {
		web, rpc := confighttp.NewDefaultServerConfig(), configgrpc.NewDefaultServerConfig()
		web.NetAddr.Endpoint, rpc.NetAddr.Endpoint = "localhost:0", "localhost:0"
		rpc.NetAddr.Transport = "tcp"
		if auth {
			web.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: authID}})
			rpc.Auth = configoptional.Some(configauth.Config{AuthenticatorID: authID})
		}
		c.Jaeger.HTTP, c.Jaeger.GRPC = configoptional.Some(web), configoptional.Some(rpc)
	}
}

func jaegerClient(t *testing.T, e *queryExtension) jaegerpb.QueryServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(e.jaeger.grpcAddr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return jaegerpb.NewQueryServiceClient(conn)
}

// TestJaegerPorts asks both ports, and sees the requests in the metrics.
func TestJaegerPorts(t *testing.T) {
	e := start(t, someTrace(t), withJaeger(false))
	c := client(t, http1, nil)
	a := get(t, c, "http://"+e.jaeger.httpAddr.String()+"/api/services")
	require.Equal(t, http.StatusOK, a.code)
	require.JSONEq(t, `{"data":["shop"],"total":1,"limit":0,"offset":0,"errors":null}`, a.body)
	require.Equal(t, a.body, get(t, client(t, h2c, nil), "http://"+e.jaeger.httpAddr.String()+"/api/services").body)
	services, err := jaegerClient(t, e).GetServices(t.Context(), &jaegerpb.GetServicesRequest{})
	require.NoError(t, err)
	require.Equal(t, []string{"shop"}, services.GetServices())

	metrics := get(t, c, e.url("/metrics")).body
	require.Contains(t, metrics, `bramble_request_duration_seconds_count{method="GET",route="jaeger GET /api/services",status_code="200"} 2`)
	require.Contains(t, metrics, `route="/jaeger.api_v3.QueryService/GetServices",status_code="OK"} 1`)
	// The paths of Tempo's API are not Jaeger's on the query port.
	require.NotContains(t, get(t, c, e.url("/api/traces/"+testID.String())).body, "processes")
}

// TestJaegerAuth: the Collector's authentication holds on both ports.
func TestJaegerAuth(t *testing.T) {
	e := start(t, someTrace(t), withJaeger(true))
	c := client(t, http1, nil)
	address := "http://" + e.jaeger.httpAddr.String() + "/api/services"
	require.Equal(t, http.StatusUnauthorized, get(t, c, address).code)
	require.Equal(t, http.StatusOK, get(t, c, address, "Authorization", "Bearer letmein").code)
	rpc := jaegerClient(t, e)
	_, err := rpc.GetServices(t.Context(), &jaegerpb.GetServicesRequest{})
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	_, err = rpc.GetServices(bearer(t.Context(), "letmein"), &jaegerpb.GetServicesRequest{})
	require.NoError(t, err)
}

// TestJaegerPortTaken: the error names the setting and the address, and what was started is stopped again.
func TestJaegerPortTaken(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	cfg := createDefaultConfig().(*Config)
	cfg.NetAddr.Endpoint = "localhost:0"
	withJaeger(false)(cfg)
	rpc := *cfg.Jaeger.GRPC.Get()
	rpc.NetAddr.Endpoint = taken.Addr().String()
	cfg.Jaeger.GRPC = configoptional.Some(rpc)
	e := newQueryExtension(extensiontest.NewNopSettings(metadata.Type), cfg)
	err = e.Start(t.Context(), host{storeID: storeExt{Store: someTrace(t)}})
	require.ErrorContains(t, err, "jaeger::grpc: listen on "+taken.Addr().String())
	require.NoError(t, e.Shutdown(context.Background()))
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", e.jaeger.httpAddr.String())
	require.Error(t, err, "the port that was opened is closed")
}

// TestJaegerShutdownCutsOff: a client that leaves its answer unread, or its stream open, does not hold up the shutdown.
func TestJaegerShutdownCutsOff(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) {
		withJaeger(false)(c)
		c.ShutdownTimeout = 100 * time.Millisecond
	})
	conn := dial(t, e.jaeger.httpAddr)
	_, err := io.WriteString(conn, "GET /api/services HTTP/1.1\r\nHost: x\r\n") // It never ends.
	require.NoError(t, err)
	require.NoError(t, e.Shutdown(t.Context()))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the connection is closed")
}
