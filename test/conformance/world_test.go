package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// world is a binary with the fixture.
type world struct {
	*harness.Bramble
	// at is when the fixture's traces start, a whole second some time ago.
	at   time.Time
	conn *grpc.ClientConn
	// filled is how many spans intoBlocks has sent, 0 while everything is in memory.
	filled int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, start(t, nil))
}

// worldOf gives a binary the fixture.
func worldOf(t *testing.T, b *harness.Bramble) *world {
	t.Helper()
	w := &world{Bramble: b, at: time.Now().Add(-time.Minute).Truncate(time.Second)}
	w.conn = harness.Dial(t, w.QueryAddr())
	send(t, w.Bramble, fixture(w.at)...)
	return w
}

// send stores requests.
func send(t *testing.T, b *harness.Bramble, requests ...[]*tracepb.ResourceSpans) {
	t.Helper()
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, b.GRPC()))
	for _, r := range requests {
		res, err := client.Export(t.Context(), &coltracepb.ExportTraceServiceRequest{ResourceSpans: r})
		require.NoError(t, err)
		require.Zero(t, res.GetPartialSuccess().GetRejectedSpans())
	}
}

// fill stores 30,000 spans of an hour that ended three hours ago: of the reference workload, or without any attributes
// but the name of a service, called as spans of the recording are, so that lists of names and values, which are those of
// whole blocks, stay as they are.
func (w *world) fill(t *testing.T, plainOf string) {
	t.Helper()
	gen := testkit.NewGenerator(uint64(w.filled + 1))
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, w.GRPC()))
	for i := range 30 {
		at := w.at.Add(-4*time.Hour + time.Duration(i)*2*time.Minute)
		var m coltracepb.ExportTraceServiceRequest
		if plainOf != "" {
			b := builder{at}
			rs := resourceSpans(plainOf, nil, nil)
			for k := range 1000 {
				n := w.filled + k
				rs.ScopeSpans[0].Spans = append(rs.GetScopeSpans()[0].GetSpans(), b.span(fmt.Sprintf("%032x", n/10+1), fmt.Sprintf("%016x", n+1), "", "bake tray", internal, time.Duration(k)*time.Millisecond, time.Millisecond))
			}
			m.ResourceSpans = []*tracepb.ResourceSpans{rs}
		} else {
			gen.SetTime(at)
			body, err := otlpspan.AppendProto(nil, gen.Batch(1000))
			require.NoError(t, err)
			require.NoError(t, proto.Unmarshal(body, &m))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := client.Export(ctx, &m, grpc.WaitForReady(true))
		cancel()
		require.NoError(t, err)
		w.filled += 1000
	}
}

// sec is the time d after the fixture's start, in Unix seconds.
func (w *world) sec(d time.Duration) int64 { return w.at.Add(d).Unix() }

// nano is the same in nanoseconds.
func (w *world) nano(d time.Duration) uint64 { return uint64(w.at.Add(d).UnixNano()) }

// window is the fixture's time range as parameters.
func (w *world) window() string { return fmt.Sprintf("start=%d&end=%d", w.sec(0), w.sec(time.Minute)) }

// searchPath asks for q in the fixture's window, with more parameters.
func (w *world) searchPath(q string, more ...string) string {
	return "/api/search?" + strings.Join(append([]string{"q=" + url.QueryEscape(q), w.window()}, more...), "&")
}

// search asks over HTTP and decodes strictly, as Grafana does (C-06).
func (w *world) search(t *testing.T, q string, more ...string) *tempopb.SearchResponse {
	t.Helper()
	r := w.Get(w.searchPath(q, more...))
	require.Equal(t, http.StatusOK, r.Status, "%s: %s", q, r.Body)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	var m tempopb.SearchResponse
	strict(t, r.Body, &m)
	return &m
}

// rangeQuery asks for a range over the fixture's first minute.
func (w *world) rangeQuery(t *testing.T, q string, more ...string) *tempopb.QueryRangeResponse {
	t.Helper()
	p := strings.Join(append([]string{"q=" + url.QueryEscape(q), w.window()}, more...), "&")
	if !strings.Contains(p, "step=") {
		p += "&step=10s"
	}
	r := w.Get("/api/metrics/query_range?" + p)
	require.Equal(t, http.StatusOK, r.Status, "%s: %s", q, r.Body)
	var m tempopb.QueryRangeResponse
	strict(t, r.Body, &m)
	return &m
}

// instant asks for one value per series over the fixture's first minute.
func (w *world) instant(t *testing.T, q string) *tempopb.QueryInstantResponse {
	t.Helper()
	r := w.Get("/api/metrics/query?q=" + url.QueryEscape(q) + "&" + w.window())
	require.Equal(t, http.StatusOK, r.Status, "%s: %s", q, r.Body)
	var m tempopb.QueryInstantResponse
	strict(t, r.Body, &m)
	return &m
}

// strict decodes JSON and refuses unknown fields (C-06).
func strict(t *testing.T, body []byte, m proto.Message) {
	t.Helper()
	require.NoError(t, protojson.UnmarshalOptions{DiscardUnknown: false}.Unmarshal(body, m), "%s", body)
}

// values asks for values of an identifier in the fixture's window, as type and text.
func (w *world) values(t *testing.T, identifier string, more ...string) []string {
	t.Helper()
	r := w.Get("/api/v2/search/tag/" + url.PathEscape(identifier) + "/values?" + strings.Join(append([]string{w.window()}, more...), "&"))
	require.Equal(t, http.StatusOK, r.Status, "%s: %s", identifier, r.Body)
	var m tempopb.SearchTagValuesV2Response
	strict(t, r.Body, &m)
	out := []string{}
	for _, v := range m.GetTagValues() {
		out = append(out, v.GetType()+" "+v.GetValue())
	}
	return out
}

// tags asks for names by scope in the fixture's window.
func (w *world) tags(t *testing.T, more ...string) map[string][]string {
	t.Helper()
	r := w.Get("/api/v2/search/tags?" + strings.Join(append([]string{w.window()}, more...), "&"))
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var m tempopb.SearchTagsV2Response
	strict(t, r.Body, &m)
	out := map[string][]string{}
	for _, s := range m.GetScopes() {
		out[s.GetName()] = s.GetTags()
	}
	return out
}

// refused asks for something that is answered with a status and a text.
func (w *world) refused(t *testing.T, path string, status int, says string) {
	t.Helper()
	r := w.Get(path)
	require.Equal(t, status, r.Status, "%s: %s", path, r.Body)
	require.Contains(t, string(r.Body), says, "%s", path)
	require.True(t, strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain"), "C-10: %s", r.Header.Get("Content-Type"))
	require.NotContains(t, string(r.Body), "<html", "C-10")
}

// client returns the streaming service over the query port.
func (w *world) client() tempopb.StreamingQuerierClient {
	return tempopb.NewStreamingQuerierClient(w.conn)
}

// collect reads a stream to its end. Creating one never fails.
func collect[M any](t *testing.T, s grpc.ServerStreamingClient[M], err error) ([]*M, error) {
	t.Helper()
	require.NoError(t, err, "Q-01: errors come with the first message")
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

// ids lists the traces of an answer, in its order and without leading zeros (C-21).
func ids(m *tempopb.SearchResponse) []string {
	out := []string{}
	for _, tr := range m.GetTraces() {
		out = append(out, strings.TrimLeft(tr.GetTraceID(), "0"))
	}
	return out
}

// raw decodes JSON without a schema.
func raw(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	require.NoError(t, d.Decode(&out), "%s", body)
	return out
}

// dig follows a path of keys and indexes into decoded JSON.
func dig(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			require.True(t, ok, "%v is no object", v)
			v = m[p]
		case int:
			l, ok := v.([]any)
			require.True(t, ok && p < len(l), "%v has no element %d", v, p)
			v = l[p]
		}
	}
	return v
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // An id of the fixture.
	}
	return b
}
