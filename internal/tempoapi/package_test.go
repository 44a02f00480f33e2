package tempoapi

import (
	"io"
	"net/http"
	"net/http/httptest"
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

// newAPI returns an API over an oracle with the batches.
func newAPI(t *testing.T, l query.Limits, batches ...*store.Batch) *API {
	t.Helper()
	s := oracle.New(5)
	for _, b := range batches {
		require.NoError(t, s.Append(t.Context(), b))
	}
	return New(query.New(s, l), Options{Build: NewBuildInfo("bramble", "1.2.3")})
}

// get asks for a path as it stands in a request line.
func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

const protobuf = "application/protobuf"

// one is a batch of one span in trace 7f…2a with a value in every field.
func one() *store.Batch {
	return &store.Batch{
		Resources: []store.Resource{{
			Attrs: []store.Attr{{Key: "service.name", Value: store.String("shop")}}, DroppedAttrs: 3,
			SchemaURL: "https://example.com/r", EntityRefs: "\x1a\x0a\x12\x04host\x1a\x02id",
		}},
		Scopes: []store.Scope{{
			Name: "lib", Version: "1.0", Attrs: []store.Attr{{Key: "s", Value: store.Bool(true)}}, DroppedAttrs: 4, SchemaURL: "https://example.com/s",
		}},
		Spans: []store.Span{{
			TraceID: oneID, SpanID: spanid.SpanID{7: 0xa1}, ParentID: spanid.SpanID{7: 0xa0}, StartNano: 1700000000000000001, EndNano: 1700000000000000002,
			Kind: store.KindServer, StatusCode: store.StatusError, StatusMessage: "bad <thing>", Flags: 0x101, Name: "GET /x", TraceState: "a=b",
			Attrs: []store.Attr{
				{Key: "string", Value: store.String("")},
				{Key: "int", Value: store.Int(-9007199254740993)},
				{Key: "float", Value: store.Float(0.5)},
				{Key: "bool", Value: store.Bool(false)},
				{Key: "bytes", Value: store.Bytes("\x00\xff")},
				{Key: "empty", Value: store.Empty()},
				{Key: "array", Value: store.Array(store.String("a"), store.Int(1), store.Array())},
				{Key: "map", Value: store.Map(store.Attr{Key: "k", Value: store.Map()})},
			},
			Events:       []store.Event{{TimeNano: 3, Name: "e", Attrs: []store.Attr{{Key: "x", Value: store.Int(0)}}, DroppedAttrs: 5}},
			Links:        []store.Link{{TraceID: spanid.TraceID{15: 1}, SpanID: spanid.SpanID{7: 2}, TraceState: "c=d", Attrs: []store.Attr{{Key: "y", Value: store.String("z")}}, DroppedAttrs: 6, Flags: 1}},
			DroppedAttrs: 7, DroppedEvents: 8, DroppedLinks: 9,
		}},
	}
}

var oneID = spanid.TraceID{0: 0x7f, 15: 0x2a}

const onePath = "/api/v2/traces/7f00000000000000000000000000002a"

// gone is a store that takes no views any more.
func gone(t *testing.T) *API {
	t.Helper()
	s := oracle.New(5)
	require.NoError(t, s.Close())
	return New(query.New(s, query.Limits{Timeout: time.Second}), Options{})
}
