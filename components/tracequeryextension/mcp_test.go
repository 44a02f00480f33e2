package tracequeryextension

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
)

// withToken adds the token to every request.
type withToken struct{ http.RoundTripper }

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer letmein")
	return t.RoundTripper.RoundTrip(r)
}

func mcpSession(ctx context.Context, c *http.Client, url string) (*mcp.ClientSession, error) {
	return mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: c}, nil)
}

func TestMCPConfig(t *testing.T) { // P-01
	cfg := createDefaultConfig().(*Config)
	require.False(t, cfg.MCP.Enabled, "off by default")
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"mcp": map[string]any{"enabled": true}}).Unmarshal(cfg))
	require.True(t, cfg.MCP.Enabled)
	require.NoError(t, confmap.Validate(cfg))
	require.ErrorContains(t, confmap.NewFromStringMap(map[string]any{"mcp": map[string]any{"enable": true}}).Unmarshal(cfg), "enable")
}

// TestMCP asks over each protocol of the port, behind the prefix, and sees it in the metrics.
func TestMCP(t *testing.T) { // P-01
	off := start(t, someTrace(t), nil)
	require.Equal(t, http.StatusNotFound, get(t, client(t, http1, nil), off.url("/api/mcp")).code)
	require.NotContains(t, get(t, client(t, http1, nil), off.url("/status/endpoints")).body, "/api/mcp")

	e := start(t, someTrace(t), func(c *Config) {
		c.MCP.Enabled, c.HTTPAPIPrefix = true, "/tempo"
	})
	for _, protocol := range []func(*http.Protocols){http1, h2c} {
		c := client(t, protocol, nil)
		s, err := mcpSession(t.Context(), c, e.url("/tempo/api/mcp"))
		require.NoError(t, err)
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "get-trace", Arguments: map[string]any{"trace_id": testID.String()}})
		require.NoError(t, err)
		require.Contains(t, res.Content[0].(*mcp.TextContent).Text, `"name":"GET /cart"`)
		require.NoError(t, s.Close())
		require.Equal(t, http.StatusMethodNotAllowed, get(t, c, e.url("/tempo/api/mcp")).code)
		require.Equal(t, http.StatusNotFound, get(t, c, e.url("/api/mcp")).code)
		require.Equal(t, http.StatusNotFound, get(t, c, e.url("/tempo/api/mcp/x")).code)
	}
	c := client(t, http1, nil)
	rebound, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url("/tempo/api/mcp"), strings.NewReader("{}"))
	require.NoError(t, err)
	rebound.Host = "rebound.example.com" // A page there that has made its name mean this address.
	resp, err := c.Do(rebound)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Contains(t, get(t, c, e.url("/status/endpoints")).body, "/tempo/api/mcp")
	require.Contains(t, get(t, c, e.url("/metrics")).body,
		`bramble_request_duration_seconds_count{method="POST",route="mcp tools/call get-trace",status_code="200"} 2`)
}

// TestMCPAuth: the Collector's authentication holds.
func TestMCPAuth(t *testing.T) { // P-01
	e := start(t, someTrace(t), func(c *Config) {
		c.MCP.Enabled = true
		c.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: authID}})
	})
	c := client(t, http1, nil)
	_, err := mcpSession(t.Context(), c, e.url("/api/mcp"))
	require.ErrorContains(t, err, "Unauthorized")
	s, err := mcpSession(t.Context(), &http.Client{Transport: withToken{c.Transport}}, e.url("/api/mcp"))
	require.NoError(t, err)
	tools, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tools.Tools, 7)
	require.NoError(t, s.Close())
}
