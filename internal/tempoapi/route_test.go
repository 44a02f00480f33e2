package tempoapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/query"
)

func TestService(t *testing.T) {
	a := newAPI(t, query.Limits{})
	r := get(t, a, "/api/echo") // H-02, A-01
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "echo\n", body(t, r))

	r = get(t, a, "/api/status/buildinfo") // H-03
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	var info map[string]string
	require.NoError(t, json.Unmarshal([]byte(body(t, r)), &info))
	require.Len(t, info, 6)
	require.Regexp(t, `^3\.0\.3\+bramble\.1\.2\.3$`, info["version"])
	require.Regexp(t, `^go1\.`, info["goVersion"])
	require.Contains(t, info, "revision")
	require.Contains(t, info, "buildDate")
}

func TestUnknownRoutes(t *testing.T) { // C-11, M-06, P-01, O-01
	a := newAPI(t, query.Limits{})
	for _, path := range []string{
		"/", "/api", "/api/", "/api/no/such/route", "/api/mcp", "/api/overrides", "/api/metrics/summary?q=%7B%7D", "/api/traces", "/api/traces/",
		"/api/traces/1/2", "/api/v2/traces/", "/api/search/tag/values", "/api/search/tag//values", "/api/v2/search/tag/x", "/api/v2/search/tag/x/values/",
		"/api/echo/", "/API/echo",
	} {
		r := get(t, a, path)
		require.Equal(t, http.StatusNotFound, r.StatusCode, path)
		require.Contains(t, r.Header.Get("Content-Type"), "text/plain")
		require.Equal(t, "404 page not found: /status/endpoints lists what is served on this port\n", body(t, r))
	}
}

func TestAnyMethod(t *testing.T) { // C-03
	a := newAPI(t, query.Limits{}, one())
	for _, m := range []string{http.MethodPost, http.MethodPut, http.MethodPatch} {
		req, err := http.NewRequestWithContext(t.Context(), m, onePath, strings.NewReader("mode=sideways"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := &recorder{header: http.Header{}}
		a.ServeHTTP(w, req)
		require.Equal(t, 200, w.code, "a form body is ignored")
	}
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(c int)   { r.code = c }
func (r *recorder) Write(p []byte) (int, error) {
	if r.code == 0 {
		r.code = 200
	}
	return len(p), nil
}

// TestTagRoutes: everything between /tag/ and the last /values is the name, unescaped once (V-04).
func TestTagRoutes(t *testing.T) {
	a := newAPI(t, query.Limits{})
	for path, want := range map[string]string{
		"/api/v2/search/tag/span.a/values":             "span.a",
		"/api/v2/search/tag/span.a%2Fb/values":         "span.a/b",
		"/api/v2/search/tag/span.a/b/values":           "span.a/b",
		"/api/v2/search/tag/x/values/values":           "x/values",
		"/api/v2/search/tag/span.%22a%20b%22/values":   `span."a b"`,
		"/api/v2/search/tag/span.100%25/values":        "span.100%",
		"/api/v2/search/tag/span.%2541/values":         "span.%41",
		"/api/v2/search/tag/span.%F0%9F%A6%94/values":  "span.🦔",
		"/api/v2/search/tag/span.🦔/values":             "span.🦔",
		"/api/v2/search/tag/span.a+b/values":           "span.a+b",
		"/api/v2/search/tag/../x/values":               "../x",
		"/api/v2/search/tag/resource.k8s.pod/values?a": "resource.k8s.pod",
	} {
		u, err := url.ParseRequestURI(path)
		require.NoError(t, err)
		e, arg := a.find(u)
		require.NotNil(t, e, path)
		require.Equal(t, "/api/v2/search/tag/{name}/values", e.route)
		require.Equal(t, want, arg, path)
	}
}

func FuzzRoute(f *testing.F) {
	for _, s := range []string{"/api/v2/search/tag/a%2Fb/values", "/api/traces/1", "/api/echo", "//", "/%", "/api/search/tag/%ff/values"} {
		f.Add(s)
	}
	a := New(query.New(nil, query.Limits{}), Options{})
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		e, arg := a.find(u)
		if e == nil {
			return
		}
		prefix, _, pattern := strings.Cut(e.route, "{")
		require.True(t, strings.HasPrefix(u.EscapedPath(), prefix) || u.Path == e.route)
		if !pattern {
			return
		}
		// The same name, escaped whole, finds the same endpoint.
		_, suffix, _ := strings.Cut(e.route, "}")
		again, err := url.ParseRequestURI(prefix + url.PathEscape(arg) + suffix)
		require.NoError(t, err)
		e2, arg2 := a.find(again)
		require.Same(t, e, e2)
		require.Equal(t, arg, arg2)
	})
}

// FuzzTraceRequest: any path and parameters are an answer or a reason that can be shown.
func FuzzTraceRequest(f *testing.F) {
	f.Add("2a", "start=1&end=2")
	f.Add("zz", "mode=x")
	f.Add("%", "start=%zz")
	f.Fuzz(func(t *testing.T, id, params string) {
		r := &http.Request{URL: &url.URL{Path: "/api/traces/x", RawQuery: params}, RemoteAddr: "127.0.0.1:1", Header: http.Header{}}
		_, err := traceRequest(r, id)
		if err != nil {
			code := statusOf(err)
			require.True(t, code == 400 || code == 413, "%v", err)
			require.NotEmpty(t, err.Error())
		}
	})
}

func TestObserver(t *testing.T) {
	var got []string
	a := newAPI(t, query.Limits{}, one())
	a.opts.Observer = observe(func(route, method, status string, _ time.Duration) { got = append(got, route+" "+method+" "+status) })
	for _, p := range []string{onePath, "/api/traces/xyz", "/api/nothing", "/api/traces/1"} {
		get(t, a, p)
	}
	require.Equal(t, []string{
		"/api/v2/traces/{traceID} GET 200", "/api/traces/{traceID} GET 400", "other GET 404", "/api/traces/{traceID} GET 404",
	}, got)
}

type observe func(route, method, status string, d time.Duration)

func (f observe) Observe(route, method, status string, d time.Duration) { f(route, method, status, d) }

func TestClientOf(t *testing.T) {
	a := &http.Request{RemoteAddr: "10.0.0.1:1000", Header: http.Header{}}
	b := &http.Request{RemoteAddr: "10.0.0.1:2000", Header: http.Header{}}
	require.Equal(t, clientOf(a), clientOf(b), "the port does not make another client")
	b.Header.Set("X-Grafana-User", "ann")
	require.NotEqual(t, clientOf(a), clientOf(b))
	a.Header.Set("X-Grafana-User", strings.Repeat("x", 10_000))
	require.Less(t, len(clientOf(a)), 400)
}
