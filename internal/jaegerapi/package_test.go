package jaegerapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the clock of all tests.
var now = time.Unix(1_700_000_000, 0)

// newAPI returns an API over an oracle with the batches.
func newAPI(t testing.TB, l query.Limits, batches ...*store.Batch) *API {
	t.Helper()
	s := oracle.New(5)
	for _, b := range batches {
		require.NoError(t, s.Append(t.Context(), b))
	}
	return New(query.New(s, l), Options{Now: func() time.Time { return now }})
}

// one is a trace of one span of the service shop, a second ago.
func one() *store.Batch {
	start := uint64(now.UnixNano()) - 1e9
	return &store.Batch{
		Resources: []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String("shop")}}}},
		Scopes:    make([]store.Scope, 1),
		Spans: []store.Span{{
			TraceID: spanid.TraceID{15: 0x2a}, SpanID: spanid.SpanID{7: 1}, StartNano: start, EndNano: start + 1000, Name: "GET /x", Kind: store.KindServer,
			Attrs: []store.Attr{{Key: "code", Value: store.Int(200)}, {Key: "text", Value: store.String("200")}},
		}},
	}
}

// ask sends a request and returns status and body.
func ask(t testing.TB, a *API, method, target, body string) (code int, answer string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader(body))
	path, rawQuery, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = path, "", rawQuery
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func get(t testing.TB, a *API, target string) (code int, answer string) {
	t.Helper()
	return ask(t, a, http.MethodGet, target, "")
}
