package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// TestHostile: whatever clients send, the binary neither crashes nor answers 5xx, and when they have gone it has as many
// goroutines and holds about as much memory as before.
func TestHostile(t *testing.T) {
	w := configured(t, "pprof_enabled", true, "read_header_timeout", "2s", "idle_timeout", "3m", "limits::slow_query", "30s")
	attacks := []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"parameters", hostileParameters},
		{"paths", hostilePaths},
		{"bytes", hostileBytes},
		{"messages", hostileMessages},
		{"slow headers", slowHeaders},
		{"connections", manyConnections},
		{"cancelled queries", manyCancelled},
	}
	hostileParameters(t, w) // Once before measuring: pools and caches are filled.
	before, memory := w.goroutines(t), w.held(t)
	for _, a := range attacks {
		ok := t.Run(a.name, func(t *testing.T) { a.run(t, w) })
		require.True(t, ok && w.Running(), "after %s\n%s", a.name, w.Log.Tail(20))
		require.Len(t, w.search(t, "{ status = error }").GetTraces(), 1, "after %s", a.name)
	}
	w.idle(t)
	harness.Poll(t, time.Minute, "goroutines to end", func() error {
		if n := w.goroutines(t); n > before+20 {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	})
	after := w.held(t)
	t.Logf("memory held: %.1f MiB before, %.1f MiB after", float64(memory)/(1<<20), float64(after)/(1<<20))
	assert.Less(t, after-memory, int64(20<<20), "memory is held on to")
	assert.Empty(t, w.Log.Lines("panic"))
}

// goroutines is the number of goroutines of the binary.
func (w *world) goroutines(t *testing.T) int {
	t.Helper()
	r := w.Get("/debug/pprof/goroutine?debug=1")
	m := regexp.MustCompile(`^goroutine profile: total (\d+)`).FindSubmatch(r.Body)
	require.NotNil(t, m, "%.200s", r.Body)
	n, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return n
}

// held is the memory that the binary holds on to: heap and stacks after garbage collections, in bytes. Resident memory would
// not tell, because the runtime gives it back to the system over minutes.
func (w *world) held(t *testing.T) int64 {
	t.Helper()
	w.Get("/debug/pprof/heap?gc=1")
	w.Get("/debug/pprof/heap?gc=1") // Pools are emptied by the second.
	text := w.Get("/metrics").Body
	total := 0.0
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
		require.NotNil(t, m, name)
		n, err := strconv.ParseFloat(string(m[1]), 64)
		require.NoError(t, err)
		total += n
	}
	return int64(total)
}

var hostileValues = []string{
	"", "0", "-1", "1e309", "NaN", "Inf", "9223372036854775807", "9223372036854775808", "18446744073709551616", "4294967296", "0x10", "1_000", " 1", "1 ",
	"\x00", "\xff\xfe", "%", "%zz", "'", `"`, "{", "}", "{}", "{{{{{{{{", "../../etc/passwd", "${env:HOME}", "<script>alert(1)</script>", "\r\nX-Injected: 1", "😀",
	"1m1m1m", "1y", "-1s", "2006-01-02T15:04:05Z", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "{ span.a = 1 } | rate()", "{ } | quantile_over_time(duration, .5) by (span.uid)",
	strings.Repeat("(", 5000), strings.Repeat("{ } >> ", 2000) + "{ }", "{ " + strings.Repeat("span.a = 1 || ", 3000) + "true }", "{ name =~ `" + strings.Repeat("(a*)*", 300) + "` }",
	strings.Repeat("a", 100_000),
}

var hostileNames = []string{"q", "query", "tags", "start", "end", "since", "limit", "spss", "step", "exemplars", "maxSeries", "instant", "scope", "mode", "blockStart", "minDuration", "maxStaleValues", "x"}

var apiPaths = []string{
	"/api/search", "/api/search/tags", "/api/v2/search/tags", "/api/search/tag/http.method/values", "/api/v2/search/tag/span.http.method/values", "/api/metrics/query_range",
	"/api/metrics/query", "/api/traces/" + cart, "/api/v2/traces/" + cart, "/api/echo", "/api/status/buildinfo", "/status", "/ready",
}

// hostileParameters sends every value in every parameter, alone and in random company. Nothing may be an error of the
// server, and nothing that was sent may become a header.
func hostileParameters(t *testing.T, w *world) {
	rng := rand.New(rand.NewPCG(1, 2))
	rounds := 1
	if full() {
		rounds = 20
	}
	for range rounds {
		for _, path := range apiPaths {
			for _, v := range hostileValues {
				p := url.Values{hostileNames[rng.IntN(len(hostileNames))]: {v}, hostileNames[rng.IntN(len(hostileNames))]: {hostileValues[rng.IntN(len(hostileValues))]}}
				r := w.Get(path + "?" + p.Encode())
				require.Less(t, r.Status, 500, "%s?%.300s: %.300s", path, p.Encode(), r.Body)
				require.Empty(t, r.Header.Get("X-Injected"))
			}
		}
	}
	for _, q := range []string{"a=%", "a=%zz", "&&&&", "=", "a=1;b=2", strings.Repeat("a&", 10_000)} {
		require.Less(t, w.Get("/api/search?"+q).Status, 500, q)
	}
}

// hostilePaths sends request lines as they are, which HTTP clients would mend.
func hostilePaths(t *testing.T, w *world) {
	for _, p := range []string{
		"/api/../api/echo", "//api/echo", "/api//echo", "/api/./echo", "/api/traces/../echo", "/api/traces/%2e%2e/echo", "/api/echo/", "/api/traces/", "/%2fapi/echo",
		"/api/v2/search/tag//values", "/api/v2/search/tag/values", "/api/traces/" + cart + "/", "/api/traces/" + cart + "%2f", "/debug/../api/echo", "/..%2f..%2fetc%2fpasswd", "/api/echo%00", "/API/ECHO",
		"/api/traces/" + strings.Repeat("%41", 5000), "/" + strings.Repeat("a/", 20_000), "*", "http://elsewhere/api/echo%2f",
	} {
		code := w.rawStatus(t, "GET "+p+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Contains(t, []int{400, 404, 307}, code, p) // 307: the profiles clean their own paths.
	}
	for _, line := range []string{
		"GET /api/echo HTTP/1.1\r\n\r\n", "GET /api/echo HTTP/9.9\r\nHost: x\r\n\r\n", "GET  /api/echo HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n", "GET /api/echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"GET /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "GET /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /api/echo HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 600<<10) + "\r\n\r\n",
	} {
		code := w.rawStatus(t, line)
		require.True(t, code == 0 || code == 200 || code >= 400 && code < 500 || code == 505 || code == 501, "%.100q: %d", line, code)
	}
}

// rawStatus sends bytes and returns the status of the answer, 0 if there is none.
func (w *world) rawStatus(t *testing.T, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", w.QueryAddr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, request)
	if err != nil {
		return 0 // Hung up on before everything was sent.
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// hostileBytes sends what is no HTTP: noise, and HTTP/2 frames that make no sense.
func hostileBytes(t *testing.T, w *world) {
	rng := rand.New(rand.NewPCG(3, 4))
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for i := range 200 {
		noise := make([]byte, rng.IntN(2000))
		for k := range noise {
			noise[k] = byte(rng.Uint32())
		}
		head := ""
		if i%2 == 0 {
			head = preface
		}
		conn, err := net.Dial("tcp", w.QueryAddr())
		require.NoError(t, err)
		_, _ = io.WriteString(conn, head+string(noise)) // It may hang up before.
		require.NoError(t, conn.Close())
	}
}

// hostileMessages sends gRPC requests with what their fields can hold.
func hostileMessages(t *testing.T, w *world) {
	c := w.client()
	for _, v := range hostileValues {
		v = strings.ToValidUTF8(v, "?")
		for _, n := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			a, err := c.Search(ctx, &tempopb.SearchRequest{Query: v, Start: n, End: 1<<32 - 1, Limit: n, SpansPerSpanSet: n, Tags: map[string]string{v: v}})
			okay(t, drain(a, err))
			b, err := c.SearchTagValuesV2(ctx, &tempopb.SearchTagValuesRequest{TagName: v, Query: v, Start: n, End: n, MaxTagValues: n})
			okay(t, drain(b, err))
			d, err := c.SearchTagsV2(ctx, &tempopb.SearchTagsRequest{Scope: v, Query: v, Start: n, End: n})
			okay(t, drain(d, err))
			e, err := c.MetricsQueryRange(ctx, &tempopb.QueryRangeRequest{Query: v, Start: uint64(n) << 31, End: 1<<64 - 1, Step: uint64(n) << 32, Exemplars: n, MaxSeries: n})
			okay(t, drain(e, err))
			cancel()
		}
	}
}

// drain reads a stream to its end and returns its error.
func drain[M any](s interface{ Recv() (*M, error) }, err error) error {
	for err == nil {
		_, err = s.Recv()
	}
	return err
}

// okay: an answer or a refusal, and no failure of the server.
func okay(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, io.EOF) {
		return
	}
	require.Contains(t, []codes.Code{codes.InvalidArgument, codes.ResourceExhausted}, status.Code(err), "%.300v", err)
}

// slowHeaders opens connections that send a header now and then and never end it, while others are served.
func slowHeaders(t *testing.T, w *world) {
	const n = 300
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", w.QueryAddr())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "GET /api/search HTTP/1.1\r\nHost: x\r\nX-A: ")
		require.NoError(t, err)
		conns[i] = conn
	}
	require.Equal(t, http.StatusOK, w.Get(w.searchPath("{}")).Status, "others are served")
	deadline := time.Now().Add(time.Minute)
	for _, c := range conns {
		for { // Drip until it hangs up.
			if _, err := io.WriteString(c, "a"); err != nil {
				break
			}
			require.NoError(t, c.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
			if _, err := c.Read(make([]byte, 1000)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			require.True(t, time.Now().Before(deadline), "a connection without end is not closed")
		}
	}
}

// manyConnections opens thousands of connections at once, which ask, stay, and ask again.
func manyConnections(t *testing.T, w *world) {
	n := 1000
	if full() {
		n = 10_000
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if uint64(n)+500 > limit.Cur {
		t.Logf("only %d connections: the limit of open files is %d", limit.Cur-500, limit.Cur)
		n = int(limit.Cur) - 500
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := net.Dial("tcp", w.QueryAddr())
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		conns[i] = c
		require.NoError(t, request(c, apiPaths[i%len(apiPaths)])) // At once: who says nothing is hung up on.
	}
	for round := range 2 {
		var wg sync.WaitGroup
		errs := make(chan error, n)
		for i, c := range conns {
			wg.Go(func() {
				path := apiPaths[i%len(apiPaths)]
				if round > 0 {
					if err := request(c, path); err != nil {
						errs <- err
						return
					}
				}
				errs <- answered(c, path)
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	}
}

func request(c net.Conn, path string) error {
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	return err
}

// answered expects an answer, to be told to wait, or the reason why not.
func answered(c net.Conn, path string) error {
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode >= 500 {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return nil
}

// manyCancelled begins queries and goes away at once.
func manyCancelled(t *testing.T, w *world) {
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.QueryAddr()+w.bulkPath("{ name =~ `.*u.*` } | select(span.text)", "limit=1000"), http.NoBody)
			if err != nil {
				return
			}
			if res, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body) // It may be cut off.
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	w.idle(t)
}
