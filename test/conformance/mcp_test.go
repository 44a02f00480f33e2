package conformance

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
)

// mcpCases is the endpoint for language models, asked with the official client.
var mcpCases = []testCase{{"P-01", languageModel}}

// modelSession connects the SDK's client to the binary.
func modelSession(t *testing.T, w *world) *mcp.ClientSession {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	s, err := mcp.NewClient(&mcp.Implementation{Name: "conformance", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: "http://" + w.QueryAddr() + "/api/mcp", HTTPClient: &http.Client{Transport: tr},
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// languageModel does what a model does: it reads, looks around, searches, computes, and looks into a trace.
func languageModel(t *testing.T, _ *world) {
	r := configured(t).Get("/api/mcp")
	require.Equal(t, http.StatusNotFound, r.Status, "off by default")
	require.Contains(t, string(r.Body), "404 page not found")

	w := configured(t, "mcp::enabled", true)
	s := modelSession(t, w)
	ask := func(tool string, args map[string]any) string {
		res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
		require.NoError(t, err)
		require.Len(t, res.Content, 1)
		body := res.Content[0].(*mcp.TextContent).Text
		require.False(t, res.IsError, "%s %v: %s", tool, args, body)
		return body
	}
	window := func(more ...string) map[string]any {
		out := map[string]any{"start": w.at.UTC().Format(time.RFC3339), "end": w.at.Add(time.Minute).UTC().Format(time.RFC3339)}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	tools, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tools.Tools, 7)
	require.Contains(t, ask("docs-traceql", map[string]any{"name": "metrics"}), "quantile_over_time")
	require.Contains(t, ask("get-attribute-names", window("scope", "resource")), `"service.name"`)
	require.Contains(t, ask("get-attribute-values", window("name", "resource.service.name")), `{"type":"string","value":"shop"}`)

	// The same traces as over HTTP, in the same order, here with all digits.
	var found struct {
		Traces []struct{ TraceID string }
	}
	require.NoError(t, json.Unmarshal([]byte(ask("traceql-search", window("query", `{ resource.service.name = "shop" }`))), &found))
	var got []string
	for _, tr := range found.Traces {
		got = append(got, strings.TrimLeft(tr.TraceID, "0"))
	}
	require.NotEmpty(t, got)
	require.Equal(t, ids(w.search(t, `{ resource.service.name = "shop" }`)), got)

	const counted = "{ } | count_over_time()"
	var metrics struct {
		Series []struct {
			Value   float64
			Samples [][2]float64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(ask("traceql-metrics-instant", window("query", counted))), &metrics))
	require.Len(t, metrics.Series, 1)
	require.InDelta(t, w.instant(t, counted).GetSeries()[0].GetValue(), metrics.Series[0].Value, 0)
	require.NoError(t, json.Unmarshal([]byte(ask("traceql-metrics-range", window("query", counted, "step", "10s"))), &metrics))
	samples := w.rangeQuery(t, counted).GetSeries()[0].GetSamples()
	require.Len(t, metrics.Series[0].Samples, len(samples))
	for i, p := range samples {
		require.InDelta(t, p.GetValue(), metrics.Series[0].Samples[i][1], 0)
		require.InDelta(t, float64(p.GetTimestampMs())/1e3, metrics.Series[0].Samples[i][0], 1e-3)
	}

	trace := ask("get-trace", map[string]any{"trace_id": cart})
	require.Contains(t, trace, `"traceId":"`+cart+`"`)
	require.Contains(t, trace, `"status":"error"`)
	require.NotContains(t, trace, `"truncated"`)

	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "traceql-search", Arguments: map[string]any{"query": "{ span.a = }"}})
	require.NoError(t, err)
	require.True(t, res.IsError)
	require.Contains(t, res.Content[0].(*mcp.TextContent).Text, "line 1, col 12")
}
