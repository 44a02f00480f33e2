package tracequeryextension

import (
	"net/http"

	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/mcpapi"
	"github.com/bramble-tracing/bramble/internal/query"
)

// MCPConfig switches the Model Context Protocol.
type MCPConfig struct {
	// Enabled serves it at /api/mcp on the query port (P-01).
	Enabled bool `mapstructure:"enabled"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// mcpPath is where it is, behind http_api_prefix.
const mcpPath = "/api/mcp"

// newMCP returns the handler of mcpPath, or nil if it is off: the path is then unknown, as in Tempo.
func newMCP(c MCPConfig, set extension.Settings, s *query.Service, m *metrics) http.Handler {
	if !c.Enabled {
		return nil
	}
	return mcpapi.New(s, mcpapi.Options{
		Name: set.BuildInfo.Command, Version: set.BuildInfo.Version, Observer: m,
		Panicked: func(method string, panicked any, stack []byte) {
			set.Logger.Error("a request made the MCP endpoint panic", zap.String("method", method), zap.Any("panic", panicked), zap.ByteString("stack", stack))
		},
	})
}
