package mcpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

func readParams(uri string) *mcp.ReadResourceParams { return &mcp.ReadResourceParams{URI: uri} }

// TestAnswersAreBounded: of much more than fits there is a part that says so, errors before other spans.
func TestAnswersAreBounded(t *testing.T) {
	at := uint64(now.Add(-time.Minute).UnixNano())
	b := &store.Batch{Resources: []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String("big")}}}}, Scopes: []store.Scope{{}}}
	for i := range 2000 {
		id := spanid.SpanID{6: byte((i + 1) >> 8), 7: byte(i + 1)}
		name := strings.Repeat(fmt.Sprintf("%06d", i), 100)
		b.Spans = append(b.Spans, store.Span{
			TraceID: shopID, SpanID: id, ParentID: spanid.SpanID{0: 1}, StartNano: at + uint64(i), EndNano: at + uint64(i) + 1, Name: "n" + name,
			Attrs: []store.Attr{{Key: "key", Value: store.String(name)}, {Key: "k" + name, Value: store.String(strings.Repeat("é", 5_000))}},
		})
	}
	b.Spans[1999].StatusCode = store.StatusError
	s := connect(t, serve(t, oracleOf(t, b), nil))
	for _, c := range []struct {
		tool string
		args args
	}{
		{"get-trace", args{"trace_id": shopID.String()}},
		{"get-attribute-names", args{"scope": "span"}},
		{"get-attribute-values", args{"name": "span.key"}},
		{"traceql-metrics-instant", args{"query": "{ } | rate() by (name, span.key)"}},
		{"traceql-metrics-range", args{"query": "{ } | rate() by (name, span.key)"}},
	} {
		body, failed, err := call(t.Context(), s, c.tool, c.args)
		require.NoError(t, err)
		require.False(t, failed, "%s", body)
		require.Less(t, len(body), maxAnswer+10*maxText, c.tool)
		require.Greater(t, len(body), maxAnswer/2, "what fits is shown by %s", c.tool)
		require.True(t, strings.Contains(body, `"truncated":"`) || strings.Contains(body, `"partial":"`), c.tool) //nolint:testifylint // The body would fill the screen.
		if c.tool == "get-trace" {
			require.True(t, strings.Contains(body, `"status":"error"`), "the error comes last and is shown first") //nolint:testifylint // As above.
			require.Contains(t, body, "(cut, 10000 bytes in all)")
			require.Contains(t, body, `"spanCount":2000`)
		}
	}
}

// hookedStore calls trace instead of looking one up.
type hookedStore struct {
	store.Viewer
	trace func(ctx context.Context) error
}

type hookedView struct {
	store.View
	trace func(ctx context.Context) error
}

func (s hookedStore) View() (store.View, error) {
	v, err := s.Viewer.View()
	return hookedView{v, s.trace}, err
}

func (v hookedView) Trace(ctx context.Context, _ spanid.TraceID, _ int64) (*store.Trace, error) {
	return nil, v.trace(ctx)
}

// TestClientGone: a query ends when its request does.
func TestClientGone(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	s := connect(t, serve(t, hookedStore{oracleOf(t), func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_, _, err := call(ctx, s, "get-trace", args{"trace_id": "1"})
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the query still runs")
	}
}

// TestPanic: a mistake of ours costs one answer.
func TestPanic(t *testing.T) {
	told := make(chan string, 1)
	s := connect(t, serve(t, hookedStore{oracleOf(t), func(context.Context) error { panic("oops") }}, func(o *Options) {
		o.Panicked = func(method string, p any, stack []byte) {
			told <- fmt.Sprint(method, " ", p)
			assert.Contains(t, string(stack), "TestPanic")
		}
	}))
	_, _, err := call(t.Context(), s, "get-trace", args{"trace_id": "1"})
	require.ErrorContains(t, err, "internal error")
	require.Equal(t, "tools/call oops", <-told)
	_, failed, err := call(t.Context(), s, "docs-traceql", nil)
	require.NoError(t, err)
	require.False(t, failed)
}

// observer remembers what it is told.
type observer struct {
	mu   sync.Mutex
	seen map[string]int
}

func (o *observer) Observe(route, method, status string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[string]int{}
	}
	o.seen[route+" "+method+" "+status]++
}

func TestObserved(t *testing.T) {
	var o observer
	s := connect(t, serve(t, oracleOf(t, shop()), func(opts *Options) { opts.Observer = &o }))
	for range 2 {
		_, _, err := call(t.Context(), s, "traceql-search", args{"query": "{ }"})
		require.NoError(t, err)
	}
	_, _, err := call(t.Context(), s, "traceql-search", args{"query": "{"})
	require.NoError(t, err)
	_, _, err = call(t.Context(), s, "traceql-"+strings.Repeat("x", 1000), nil)
	require.Error(t, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Equal(t, 2, o.seen["mcp tools/call traceql-search POST 200"], "%v", o.seen)
	require.Equal(t, 1, o.seen["mcp tools/call traceql-search POST 400"], "%v", o.seen)
	require.Equal(t, 1, o.seen["mcp tools/call POST 500"], "names that clients invent are no labels: %v", o.seen)
}

// post sends a message as it is.
func post(ctx context.Context, h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const callDocument = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"docs-traceql","arguments":{}}}`

// TestMessages: what is wrong with a message is said by an HTTP status or a JSON-RPC error.
func TestMessages(t *testing.T) {
	api := New(query.New(oracleOf(t, shop()), query.DefaultLimits()), Options{Name: "bramble", Version: "1"})
	w := post(t.Context(), api, callDocument)
	require.Equal(t, 200, w.Code, "%s", w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Contains(t, w.Body.String(), "TraceQL: filters")
	require.Empty(t, w.Header().Get("Mcp-Session-Id"), "nothing is kept")
	for _, c := range []struct {
		body   string
		header []string
		code   int
		says   string
	}{
		{"", nil, 400, ""},
		{"{", nil, 400, ""},
		{`"text"`, nil, 400, ""},
		{" [" + callDocument + "]", nil, 400, "one JSON-RPC message per request"},
		{strings.Repeat(" ", maxBody+1), nil, 413, "262144 bytes"},
		{callDocument, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{callDocument, []string{"Accept", "text/html"}, 400, "Accept"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/guess"}`, nil, 400, "tools/guess"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get-trace","arguments":[]}}`, nil, 200, `arguments`},
	} {
		w := post(t.Context(), api, c.body, c.header...)
		require.Equal(t, c.code, w.Code, "%.80s: %s", c.body, w.Body)
		require.Contains(t, w.Body.String(), c.says, "%.80s", c.body)
	}
	for _, m := range []string{http.MethodGet, http.MethodDelete, http.MethodPut} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), m, "/api/mcp", http.NoBody))
		require.Equal(t, 405, w.Code, m)
	}
}

// FuzzMessage: no message makes the endpoint fail, or answer without bounds.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(callDocument))
	for _, tool := range []string{
		`"traceql-search","arguments":{"query":"{ status = error } | select(name)","start":"2026-03-01T11:00:00Z","limit":3}`,
		`"traceql-metrics-instant","arguments":{"query":"{ } | rate() by (name)"}`,
		`"traceql-metrics-range","arguments":{"query":"{ } | rate()","end":"2026-03-01T11:59:30+02:00","step":"30s"}`,
		`"get-trace","arguments":{"trace_id":"7f00000000000000000000000000002a"}`,
		`"get-attribute-names","arguments":{"scope":"span"}`,
		`"get-attribute-values","arguments":{"name":"span.ratio","filter-query":"{ kind = server"}`,
	} {
		f.Add([]byte(`{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":` + tool + `}}`))
	}
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"b"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"docs://traceql/basic"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		api := New(query.New(oracleOf(t, shop()), query.DefaultLimits()), Options{
			Name: "bramble", Version: "1", Now: func() time.Time { return now },
			Panicked: func(_ string, p any, stack []byte) { t.Errorf("panic: %v\n%s", p, stack) },
		})
		w := post(t.Context(), api, string(body))
		if w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if n, _ := io.Copy(io.Discard, bytes.NewReader(w.Body.Bytes())); n > 2*maxAnswer {
			t.Errorf("%d bytes are answered", n)
		}
	})
}
