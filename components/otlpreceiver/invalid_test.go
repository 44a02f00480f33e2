package otlpreceiver

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// inJSON is a request with one span for each list of fields.
func inJSON(spans ...string) string {
	for i, s := range spans {
		spans[i] = "{" + s + "}"
	}
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
}

// TestSpansThatCannotBe holds what clients are told about spans without ids and about times in another unit, over both
// protocols, and what of it is passed on and counted (OTLP 1.x, "Partial Success").
func TestSpansThatCannotBe(t *testing.T) {
	const (
		ids  = `"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"`
		now  = `,"startTimeUnixNano":"1795785690000000000","endTimeUnixNano":"1795785690100000000"`
		noID = "a trace id and a span id that are not all zeros"
	)
	for _, tc := range []struct {
		name            string
		body            string
		passed, refused int
		says            []string // nothing is said without
	}{
		{"as they should be", inJSON(ids+now, ids+now), 2, 0, nil},
		{"no ids", inJSON(now[1:]), 0, 1, []string{noID}},
		{"ids under other names", inJSON(`"traceID":"5b8efff798038103d269b633813fc60c","spanID":"eee19b7ec3c1b174"` + now), 0, 1, []string{noID}},
		{"no span id", inJSON(`"traceId":"5b8efff798038103d269b633813fc60c"`+now, ids+now), 1, 1, []string{"not taken: 1", noID}},
		{"a trace id of zeros", inJSON(ids+now, `"traceId":"00000000000000000000000000000000","spanId":"eee19b7ec3c1b174"`+now, now[1:]), 1, 2, []string{"not taken: 2", noID}},
		{"seconds", inJSON(ids+now, ids+`,"startTimeUnixNano":"1795785690"`), 2, 0, []string{"taken: 1 that start before 1980", "1970-01-01T00:00:01.79578569Z", "nanoseconds"}},
		{"milliseconds, and the first of them", inJSON(ids+`,"startTimeUnixNano":"1795785690001"`, ids+`,"startTimeUnixNano":"1795785690000"`), 2, 0, []string{"taken: 2", "1970-01-01T00:29:55.78569Z"}},
		{"no time", inJSON(ids), 1, 0, []string{"1970-01-01T00:00:00Z"}},
		{"both", inJSON(ids, ids+now, ""), 2, 1, []string{"not taken: 1", noID, ". taken: 1 "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := startReceiver(t, NewFactory(), nil)
			req := ptraceotlp.NewExportRequest()
			require.NoError(t, req.UnmarshalJSON([]byte(tc.body)))
			conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			rpc, rpcErr := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), req)
			code, body := postJSON(t, r, "/v1/traces", tc.body)

			if tc.passed == 0 {
				assert.Equal(t, codes.InvalidArgument, status.Code(rpcErr))
				assert.Equal(t, http.StatusBadRequest, code)
				for _, s := range tc.says {
					require.ErrorContains(t, rpcErr, s)
					assert.Contains(t, body, s)
				}
			} else {
				require.NoError(t, rpcErr)
				assert.Equal(t, http.StatusOK, code)
				res := ptraceotlp.NewExportResponse()
				require.NoError(t, res.UnmarshalJSON([]byte(body)))
				for _, p := range []ptraceotlp.ExportPartialSuccess{rpc.PartialSuccess(), res.PartialSuccess()} {
					assert.EqualValues(t, tc.refused, p.RejectedSpans())
					assert.Equal(t, len(tc.says) > 0, p.ErrorMessage() != "", p.ErrorMessage())
					for _, s := range tc.says {
						assert.Contains(t, p.ErrorMessage(), s)
					}
				}
			}
			passed := 0
			for _, got := range r.sink.taken() {
				req := ptraceotlp.NewExportRequest()
				require.NoError(t, req.UnmarshalProto([]byte(got)))
				for _, rs := range req.Traces().ResourceSpans().All() {
					for _, ss := range rs.ScopeSpans().All() {
						for _, s := range ss.Spans().All() {
							assert.False(t, invalid(s))
							passed++
						}
					}
				}
			}
			assert.Equal(t, 2*tc.passed, passed)
			counted := r.counters(t)
			for _, transport := range []string{"grpc", "http"} {
				labels := " receiver=otlp,transport=" + transport
				assert.EqualValues(t, tc.passed, counted["otelcol_receiver_accepted_spans"+labels], counted)
				assert.EqualValues(t, tc.refused, counted["otelcol_receiver_refused_spans"+labels], counted)
			}
		})
	}
}

// TestElsewhere holds that who asks at another path is told the right one, and that one may be everywhere.
func TestElsewhere(t *testing.T) {
	r := startReceiver(t, NewFactory(), nil)
	for _, path := range []string{"/", "/v1/trace", "/v1/traces/", "/v1/traces/v1/traces"} {
		code, body := postJSON(t, r, path, "{}")
		assert.Equal(t, http.StatusNotFound, code)
		assert.Contains(t, body, `nothing is served at "`+path+`"`)
		assert.Contains(t, body, "traces at /v1/traces, metrics at /v1/metrics, logs at /v1/logs, profiles at "+profilesPath)
	}
	r = startReceiver(t, NewFactory(), func(c *Config) { c.Protocols.HTTP.Get().TracesURLPath = "/" })
	code, body := postJSON(t, r, "/anywhere", "{}")
	assert.Equal(t, http.StatusOK, code)
	assert.JSONEq(t, `{"partialSuccess":{}}`, body)
}

func postJSON(t *testing.T, r *running, path, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.http+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", jsonType)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}
