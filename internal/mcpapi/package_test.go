package mcpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the clock of all tests, and shopID the trace that shop makes just before.
var (
	now    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	shopID = spanid.TraceID{0: 0x7f, 15: 0x2a}
)

// shop is a trace of two services: a request that fails in the database.
func shop() *store.Batch {
	at := uint64(now.Add(-time.Minute).UnixNano())
	return &store.Batch{
		Resources: []store.Resource{
			{Attrs: []store.Attr{{Key: "service.name", Value: store.String("shop")}}},
			{Attrs: []store.Attr{{Key: "service.name", Value: store.String("stock")}}},
		},
		Scopes: []store.Scope{{Name: "lib"}},
		Spans: []store.Span{
			{
				TraceID: shopID, SpanID: spanid.SpanID{7: 1}, StartNano: at, EndNano: at + 120e6, Kind: store.KindServer, Name: "GET /cart <1>",
				Attrs: []store.Attr{
					{Key: "http.response.status_code", Value: store.Int(500)},
					{Key: "ratio", Value: store.Float(0.5)},
					{Key: "cached", Value: store.Bool(false)},
					{Key: "raw", Value: store.Bytes("\x00\xff")},
					{Key: "list", Value: store.Array(store.String("a"), store.Int(1))},
					{Key: "map", Value: store.Map(store.Attr{Key: "k", Value: store.Map()})},
					{Key: "bad", Value: store.String("\xff")},
				},
			},
			{
				TraceID: shopID, SpanID: spanid.SpanID{7: 2}, ParentID: spanid.SpanID{7: 1}, Resource: 1, StartNano: at + 5e6, EndNano: at + 15e6,
				Kind: store.KindClient, Name: "SELECT", StatusCode: store.StatusError, StatusMessage: "deadlock",
				Attrs:  []store.Attr{{Key: "db.system", Value: store.String("postgresql")}},
				Events: []store.Event{{TimeNano: at + 6e6, Name: "exception", Attrs: []store.Attr{{Key: "exception.type", Value: store.String("Deadlock")}}}},
				Links:  []store.Link{{TraceID: spanid.TraceID{15: 1}, SpanID: spanid.SpanID{7: 3}}},
			},
		},
	}
}

// oracleOf is a store with the batches.
func oracleOf(t *testing.T, batches ...*store.Batch) *oracle.Store {
	t.Helper()
	s := oracle.New(100)
	for _, b := range batches {
		require.NoError(t, s.Append(t.Context(), b))
	}
	return s
}

// serve serves an API and returns its URL.
func serve(t *testing.T, s store.Viewer, change func(*Options)) string {
	t.Helper()
	o := Options{Name: "bramble", Version: "1.2.3", Now: func() time.Time { return now }}
	if change != nil {
		change(&o)
	}
	server := httptest.NewServer(New(query.New(s, query.DefaultLimits()), o))
	t.Cleanup(server.Close)
	return server.URL
}

// connect is a client's session.
func connect(t *testing.T, url string) *mcp.ClientSession {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: tr}}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close()) })
	return session
}

type args = map[string]any

// call calls a tool and returns its text.
func call(ctx context.Context, s *mcp.ClientSession, tool string, a args) (text string, failed bool, err error) {
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: a})
	if err != nil {
		return "", false, err
	}
	return res.Content[0].(*mcp.TextContent).Text, res.IsError, nil
}

// answer calls a tool that answers with JSON.
func answer[T any](t *testing.T, s *mcp.ClientSession, tool string, a args) T {
	t.Helper()
	body, failed, err := call(t.Context(), s, tool, a)
	require.NoError(t, err)
	require.False(t, failed, "%s", body)
	var out T
	require.NoError(t, json.Unmarshal([]byte(body), &out), "%s", body)
	return out
}
