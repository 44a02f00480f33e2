package tempoapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// at is the time of the test data: all of it lies in [at, at+60].
const at = 1_700_000_000

func nano(ms int) uint64 { return at*1e9 + uint64(ms)*1e6 }

// shopTraces are three traces: a checkout over two services, an old one with an error, and one whose root is missing.
func shopTraces() *store.Batch {
	str := func(k, v string) store.Attr { return store.Attr{Key: k, Value: store.String(v)} }
	span := func(trace, id, parent byte, res int32, name string, from, to int) store.Span {
		s := store.Span{TraceID: spanid.TraceID{15: trace}, SpanID: spanid.SpanID{7: id}, Resource: res, Name: name, StartNano: nano(from), EndNano: nano(to)}
		if parent > 0 {
			s.ParentID = spanid.SpanID{7: parent}
		}
		return s
	}
	b := &store.Batch{
		Resources: []store.Resource{{Attrs: []store.Attr{str("service.name", "shop"), str("cluster", "eu")}}, {Attrs: []store.Attr{str("service.name", "bank")}}},
		Scopes:    []store.Scope{{Name: "lib"}},
		Spans: []store.Span{
			span(1, 1, 0, 0, "POST /checkout", 10_000, 10_500),
			span(1, 2, 1, 1, "charge", 10_100, 10_300),
			span(1, 3, 1, 0, "mail", 10_300, 10_400),
			span(2, 4, 0, 1, "reconcile", 1_000, 1_001),
			span(3, 5, 9, 0, "orphan", 20_000, 20_000),
		},
	}
	b.Spans[1].Attrs = []store.Attr{{Key: "amount", Value: store.Int(1 << 60)}, {Key: "ok\xff", Value: store.String("bad \xff")}}
	b.Spans[3].StatusCode = store.StatusError
	b.Spans[0].Kind = store.KindServer
	return b
}

func searchPath(q string, more ...string) string {
	return "/api/search?q=" + url.QueryEscape(q) + "&start=1700000000&end=1700000060" + strings.Join(append([]string{""}, more...), "&")
}

// decodeStrict fails for fields that Grafana does not know (C-06).
func decodeStrict(t *testing.T, text string, m proto.Message) {
	t.Helper()
	require.NoError(t, protojson.UnmarshalOptions{DiscardUnknown: false}.Unmarshal([]byte(text), m), text)
}

func TestSearch(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	r := get(t, a, searchPath(`{ span.amount > 5 || span:id = "0000000000000003" } | select(status, name)`))
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, typeJSON, r.Header.Get("Content-Type")) //nolint:testifylint // No JSON.
	text := body(t, r)
	var m tempopb.SearchResponse
	decodeStrict(t, text, &m)
	require.Len(t, m.GetTraces(), 1)
	row := m.GetTraces()[0]
	require.Equal(t, "00000000000000000000000000000001", row.GetTraceID()) // C-21
	require.Equal(t, "shop", row.GetRootServiceName())
	require.Equal(t, "POST /checkout", row.GetRootTraceName())
	require.Equal(t, nano(10_000), row.GetStartTimeUnixNano())
	require.EqualValues(t, 500, row.GetDurationMs())                     // S-31
	require.True(t, proto.Equal(row.GetSpanSet(), row.GetSpanSets()[0])) // S-22
	require.EqualValues(t, 2, row.GetSpanSet().GetMatched())
	require.EqualValues(t, 2, row.GetServiceStats()["shop"].GetSpanCount()) // S-32
	spans := row.GetSpanSet().GetSpans()
	require.Equal(t, "0000000000000002", spans[0].GetSpanID()) // C-22
	require.Equal(t, "charge", spans[0].GetName())             // S-27
	require.Contains(t, text, `"startTimeUnixNano":"`)         // C-05
	require.Contains(t, text, `{"key":"amount","value":{"intValue":"1152921504606846976"}}`)
	require.Contains(t, text, `{"key":"status","value":{"stringValue":"unset"}}`) // S-26
	require.EqualValues(t, 1, m.GetMetrics().GetTotalJobs())

	var p tempopb.SearchResponse // C-07
	r = get(t, a, searchPath(`{ span.amount > 5 || span:id = "0000000000000003" } | select(status, name)`), "Accept", protobuf)
	require.Equal(t, protobuf, r.Header.Get("Content-Type"))
	require.NoError(t, proto.Unmarshal([]byte(body(t, r)), &p))
	p.Metrics, m.Metrics = nil, nil
	require.True(t, proto.Equal(&m, &p))
}

func TestSearchAnswers(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	tests := []struct {
		name, path string
		code       int
		has        []string
		hasNot     []string
	}{
		{"nothing found", searchPath(`{ name = "nope" }`), 200, []string{`{"traces":[],"metrics":{`}, nil},                                                                        // S-20
		{"constant false", searchPath(`{ 1 = 2 }`), 200, []string{`{"traces":[],`}, nil},                                                                                          // S-33
		{"root missing", searchPath(`{ name = "orphan" }`), 200, []string{`"rootServiceName":"\u003croot span not yet received\u003e"`}, []string{"rootTraceName", "durationMs"}}, // S-30, S-31
		{"name only if asked for", searchPath(`{ span.amount > 5 }`), 200, nil, []string{`"name":"charge"`}},                                                                      // S-27
		{"bad query", searchPath(`{ span.a = }`), 400, []string{"invalid TraceQL query:", "parse error at line 1, col "}, nil},                                                    // S-01, L-50
		{"bad types", searchPath(`{ duration = "x" }`), 400, []string{"invalid TraceQL query:"}, nil},
		{"tags", "/api/search?tags=" + url.QueryEscape("service.name=ban") + "&start=1700000000&end=1700000060", 200, []string{`"rootTraceName":"reconcile"`, `"rootTraceName":"POST /checkout"`}, []string{"spanSet"}}, // S-02
		{"no parameters find nothing old", "/api/search", 200, []string{`"traces":[]`}, nil},                                                                                                                            // C-16
		{"limit", searchPath(`{}`, "limit=1"), 200, []string{`"traceID":"00000000000000000000000000000003"`}, []string{"00000001"}},                                                                                     // S-21
		{"spss", searchPath(`{ name != "" }`, "spss=1"), 200, []string{`"matched":3`}, []string{`"mail"`}},                                                                                                              // S-23
		{"outside of the window", "/api/search?q=%7B%7D&start=1600000000&end=1600000060", 200, []string{`"traces":[]`}, nil},                                                                                            // S-07
		{"tenant is ignored", searchPath(`{ name = "mail" }`), 200, []string{"POST /checkout"}, nil},                                                                                                                    // C-12
		{"LLM is JSON here", searchPath(`{ name = "mail" }`), 200, []string{"POST /checkout"}, nil},                                                                                                                     // C-08
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, a, tt.path, "X-Scope-OrgID", "anyone", "Accept", "application/vnd.grafana.llm")
			text := body(t, r)
			require.Equal(t, tt.code, r.StatusCode, text)
			for _, s := range tt.has {
				require.Contains(t, text, s)
			}
			for _, s := range tt.hasNot {
				require.NotContains(t, text, s)
			}
			if tt.code == 200 {
				decodeStrict(t, text, &tempopb.SearchResponse{})
			} else {
				require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type")) // C-10
			}
		})
	}
}

// stream serves the API in memory.
func stream(t *testing.T, a *API) tempopb.StreamingQuerierClient {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	a.RegisterGRPC(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:api", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		require.NoError(t, <-done)
	})
	return tempopb.NewStreamingQuerierClient(conn)
}

// receive reads a stream to its end.
func receive[M any](t *testing.T, s grpc.ServerStreamingClient[M], err error) ([]*M, error) {
	t.Helper()
	require.NoError(t, err, "creating a stream never fails (Q-01)")
	var out []*M
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

func TestStreamSearch(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), shopTraces())
	c := stream(t, a)
	s, err := c.Search(t.Context(), &tempopb.SearchRequest{Query: `{ name = "mail" }`, Start: at, End: at + 60})
	got, err := receive(t, s, err)
	require.NoError(t, err)
	require.Len(t, got, 1)
	var http tempopb.SearchResponse
	decodeStrict(t, body(t, get(t, a, searchPath(`{ name = "mail" }`))), &http)
	require.True(t, proto.Equal(&http, got[0]), "the same as over HTTP")

	s, err = c.Search(t.Context(), &tempopb.SearchRequest{Query: "{}", Limit: 1})
	got, err = receive(t, s, err)
	require.NoError(t, err)
	require.Len(t, got, 1, "also an empty result is a message (Q-02)")
	require.Empty(t, got[0].GetTraces())
	require.EqualValues(t, 1, got[0].GetMetrics().GetTotalJobs())

	for says, m := range map[string]*tempopb.SearchRequest{
		"invalid TraceQL query: parse error at line 1": {Query: "{ span.a = }"},
		"spans per span set exceeds":                   {Query: "{}", SpansPerSpanSet: 1000},
	} {
		s, err := c.Search(t.Context(), m)
		got, err := receive(t, s, err)
		require.Empty(t, got)
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.ErrorContains(t, err, says)
	}
}

// blocked is a store whose views cannot be read until the query's context ends.
type blocked struct {
	*oracle.Store
	entered chan struct{}
	ended   chan struct{}
}

type blockedView struct {
	store.View
	s *blocked
}

type blockedPart struct {
	store.Part
	s *blocked
}

func (b *blocked) View() (store.View, error) {
	v, err := b.Store.View()
	return &blockedView{v, b}, err
}

func (v *blockedView) Parts() []store.Part {
	parts := v.View.Parts()
	out := make([]store.Part, len(parts))
	for i, p := range parts {
		out[i] = &blockedPart{p, v.s}
	}
	return out
}

func (p *blockedPart) Filter(ctx context.Context, _ int, _ *store.Predicate, _ *store.Bitmap) error {
	select {
	case p.s.entered <- struct{}{}:
	default:
	}
	<-ctx.Done()
	select {
	case p.s.ended <- struct{}{}:
	default:
	}
	return ctx.Err()
}

// TestStreamCancel: a client that goes away stops the work.
func TestStreamCancel(t *testing.T) {
	o := oracle.New(5)
	require.NoError(t, o.Append(t.Context(), shopTraces()))
	b := &blocked{Store: o, entered: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
	service := query.New(b, query.DefaultLimits())
	c := stream(t, New(service, Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Search(ctx, &tempopb.SearchRequest{Query: `{ name = "mail" }`, Start: at, End: at + 60})
	require.NoError(t, err)
	<-b.entered
	cancel()
	_, err = s.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))
	select {
	case <-b.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the query goes on without its client")
	}
	drain, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	require.NoError(t, service.Drain(drain))
}

func TestGRPCCodes(t *testing.T) { // C-11
	for _, c := range []struct {
		want codes.Code
		err  error
	}{
		{codes.InvalidArgument, badRequestf("x")},
		{codes.NotFound, store.ErrNotFound},
		{codes.ResourceExhausted, query.ErrOverloaded},
		{codes.Canceled, context.Canceled},
		{codes.Internal, query.ErrTimeout},
		{codes.Internal, query.ErrClosing},
		{codes.Internal, store.ErrUnsupported},
		{codes.Internal, errors.New("disk on fire \xff")},
		{codes.Unknown, &statusError{code: 413, text: "too large"}},
	} {
		require.Equal(t, c.want, status.Code(grpcError(c.err)), "%v", c.err)
	}
	require.NoError(t, grpcError(nil))
}
