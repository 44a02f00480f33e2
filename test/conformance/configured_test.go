package conformance

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

// configuredCases need configurations of their own.
var configuredCases = []testCase{
	{"C-04", prefix}, {"T-03 T-04 C-11", largeTrace}, {"G-06", tagBytes}, {"C-11", overload}, {"M-03", unlimitedRange},
}

// set changes settings of the query port.
func set(pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "extensions::trace_query::" + fmt.Sprint(pairs[i])
	}
	return harness.Set(pairs...)
}

// configured is a binary with settings and the fixture.
func configured(t *testing.T, pairs ...any) *world {
	t.Helper()
	w := &world{Bramble: start(t, set(pairs...)), at: time.Now().Add(-time.Minute).Truncate(time.Second)}
	w.conn = harness.Dial(t, w.QueryAddr())
	send(t, w.Bramble, fixture(w.at)...)
	return w
}

func prefix(t *testing.T, _ *world) {
	b := start(t, set("http_api_prefix", "/tempo/x"))
	for path, want := range map[string]int{
		"/tempo/x/api/echo": 200, "/tempo/x/api/search": 200, "/tempo/x/api/v2/search/tag/span.a%2Fb/values": 200, "/api/echo": 404, "/ready": 200, "/status": 200, "/metrics": 200,
		"/tempo/x/ready": 404, "/tempo/x/metrics": 404,
	} {
		require.Equal(t, want, b.Get(path).Status, path)
	}
}

func largeTrace(t *testing.T, _ *world) {
	w := configured(t, "limits::max_trace_bytes", 600)
	m := raw(t, w.Get("/api/v2/traces/"+cart).Body)
	require.Equal(t, "PARTIAL", m["status"])
	require.NotEmpty(t, m["message"])
	require.Equal(t, tempopb.PartialStatus_PARTIAL, w.protoTrace(t, cart).GetStatus())
	require.NotEmpty(t, w.protoTrace(t, cart).GetMessage())
	w.refused(t, "/api/traces/"+cart, http.StatusUnprocessableEntity, "")
	require.Equal(t, tempopb.PartialStatus_COMPLETE, w.protoTrace(t, quick).GetStatus())
}

func tagBytes(t *testing.T, _ *world) {
	w := configured(t, "limits::max_tag_bytes", 40)
	total := 0
	for _, names := range w.tags(t, "scope=span") {
		for _, n := range names {
			total += len(n)
		}
	}
	require.Positive(t, total)
	require.LessOrEqual(t, total, 40)
	require.Less(t, len(w.values(t, "name")), 5)
}

// overload: too little memory for an answer, and too little time.
func overload(t *testing.T, _ *world) {
	w := configured(t, "limits::memory_mib", 1)
	r := w.Get(w.bulkPath("{} | select(span.text)", "limit=1000"))
	require.Equal(t, http.StatusTooManyRequests, r.Status, "%.200s", r.Body)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	s, err := w.client().Search(t.Context(), &tempopb.SearchRequest{
		Query: "{} | select(span.text)", Limit: 1000, Start: uint32(w.sec(-55 * time.Minute)), End: uint32(w.sec(-20 * time.Minute)),
	})
	_, err = collect(t, s, err)
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)

	w = configured(t, "limits::timeout", "1us")
	w.refused(t, w.searchPath("{}"), http.StatusGatewayTimeout, "the limit is 1µs")
	s, err = w.client().Search(t.Context(), &tempopb.SearchRequest{Query: "{}"})
	_, err = collect(t, s, err)
	require.Equal(t, codes.Internal, status.Code(err), "%v", err)
}

func unlimitedRange(t *testing.T, _ *world) {
	b := start(t, set("limits::max_metrics_range", "0s", "limits::max_search_range", "0s"))
	r := b.Get(metricsPath("query_range", "{} | rate() by (name)",
		fmt.Sprintf("step=1h&start=%d&end=%d", time.Now().Add(-30*24*time.Hour).Unix(), time.Now().Unix())))
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	r = b.Get("/api/search?q=%7B%7D&start=1&end=" + strconv.FormatInt(time.Now().Unix(), 10))
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
}

// idle waits until the server runs no query.
func (w *world) idle(t *testing.T) {
	t.Helper()
	harness.Poll(t, 20*time.Second, "no query to run", func() error {
		for line := range strings.Lines(string(w.Get("/metrics").Body)) {
			if strings.HasPrefix(line, "bramble_queries_running{") && !strings.HasSuffix(line, " 0\n") {
				return fmt.Errorf("%s", line)
			}
		}
		return nil
	})
}
