package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestOnePortForAllProtocols asks port 3200 by real clients: curl over HTTP/1.1 and over HTTP/2 without TLS, Go's HTTP
// client over both, and gRPC (C-01).
func TestOnePortForAllProtocols(t *testing.T) {
	b := local(t)
	td := everyField(t)
	sendGRPC(t, b, td)
	traceID := harness.Spans(td)[0].GetTraceId()
	url := fmt.Sprintf("http://%s/api/v2/traces/%s", b.QueryAddr(), hex.EncodeToString(traceID))

	for version, flag := range map[string]string{"1.1": "--http1.1", "2": "--http2-prior-knowledge"} {
		t.Run("curl "+version, func(t *testing.T) {
			assert.Equal(t, version+" 200", curl(t, flag, "-o", t.TempDir()+"/trace", "-w", "%{http_version} %{http_code}", url))
			assert.Equal(t, "ready", strings.TrimSpace(curl(t, flag, "http://"+b.QueryAddr()+"/ready")))
			assert.Equal(t, "echo", strings.TrimSpace(curl(t, flag, "http://"+b.QueryAddr()+"/api/echo")))
		})
	}
	for version, protocols := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run("Go "+version, func(t *testing.T) {
			var p http.Protocols
			protocols(&p)
			transport := &http.Transport{Protocols: &p}
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
			require.NoError(t, err)
			req.Header.Set("Accept", "application/protobuf")
			res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			assert.Equal(t, version, res.Proto)
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, "application/protobuf", res.Header.Get("Content-Type"))
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.NotEmpty(t, body)
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn := harness.Dial(t, b.QueryAddr())
		// A method that does not exist is answered by a gRPC server: with its own code, not with an HTTP status.
		err := conn.Invoke(ctx, "/tempopb.StreamingQuerier/NoSuchMethod", &tempopb.SearchRequest{}, &tempopb.SearchResponse{})
		assert.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
		assert.NotContains(t, err.Error(), "HTTP status")

		stream, err := tempopb.NewStreamingQuerierClient(conn).Search(ctx, &tempopb.SearchRequest{Query: "{ nonsense", Limit: 1})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NotErrorIs(t, err, io.EOF)
		assert.Contains(t, []codes.Code{codes.InvalidArgument, codes.Unimplemented}, status.Code(err), "%v", err)
	})
}

// TestManyClientsOnOnePort lets all kinds of clients ask at the same time.
func TestManyClientsOnOnePort(t *testing.T) {
	b := local(t)
	td := everyField(t)
	sendGRPC(t, b, td)
	url := fmt.Sprintf("http://%s/api/traces/%x", b.QueryAddr(), harness.Spans(td)[0].GetTraceId())
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	clients := []*http.Client{
		{Timeout: time.Minute, Transport: &http.Transport{}},
		{Timeout: time.Minute, Transport: &http.Transport{Protocols: &h2}},
	}
	conn := harness.Dial(t, b.QueryAddr())
	const asks = 50
	failures := make(chan error, 3*asks)
	for range asks {
		for _, c := range clients {
			go func() { failures <- get(t.Context(), c, url) }()
		}
		go func() { failures <- unimplemented(t.Context(), conn) }()
	}
	for range 3 * asks {
		require.NoError(t, <-failures)
	}
	for _, c := range clients {
		c.CloseIdleConnections()
	}
}

func get(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func unimplemented(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := conn.Invoke(ctx, "/tempopb.StreamingQuerier/NoSuchMethod", &tempopb.SearchRequest{}, &tempopb.SearchResponse{})
	if status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("an unknown method answers %w", err)
	}
	return nil
}

// TestTraceByIDAnswers looks at the answers that clients depend on to the byte.
func TestTraceByIDAnswers(t *testing.T) {
	b := local(t)
	missing := randomHex(t, 16)

	r := b.Get("/api/v2/traces/"+missing, "Accept", "application/protobuf")
	assert.Equal(t, http.StatusOK, r.Status, "T-02")
	assert.Equal(t, "0a001200", hex.EncodeToString(r.Body), "T-02: an empty trace that is there")
	r = b.Get("/api/v2/traces/" + missing)
	assert.Equal(t, http.StatusOK, r.Status, "T-02")
	assert.JSONEq(t, `{"trace":{},"metrics":{}}`, string(r.Body), "T-02")
	r = b.Get("/api/traces/" + missing)
	assert.Equal(t, http.StatusNotFound, r.Status, "T-04")
	assert.Empty(t, r.Body, "T-04")
	for _, bad := range []string{"xyz", strings.Repeat("a", 33)} {
		r = b.Get("/api/traces/" + bad)
		assert.Equal(t, http.StatusBadRequest, r.Status, "C-20: %s", bad)
		assert.NotContains(t, string(r.Body), "<", "C-10: errors are plain text")
	}

	r = b.Get("/api/status/buildinfo")
	assert.Equal(t, http.StatusOK, r.Status, "H-03")
	var info map[string]string
	require.NoError(t, json.Unmarshal(r.Body, &info), "H-03: %s", r.Body)
	for _, key := range []string{"version", "revision", "branch", "buildUser", "buildDate", "goVersion"} {
		assert.Contains(t, info, key, "H-03")
	}
	r = b.Get("/metrics")
	assert.Equal(t, http.StatusOK, r.Status, "H-05")
	assert.Contains(t, string(r.Body), "# TYPE ", "H-05")
}
