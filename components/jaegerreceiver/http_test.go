package jaegerreceiver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// TestPost sends batches, and what is none, over HTTP.
func TestPost(t *testing.T) {
	const thriftType = "application/x-thrift"
	many := &jaeger.Batch{Process: &jaeger.Process{ServiceName: "s"}}
	for range 50 {
		many.Spans = append(many.Spans, batch().GetSpans()...)
	}
	for _, tc := range []struct {
		name, method, path, contentType string
		body                            []byte
		refuse                          error
		status                          int
		want                            string
		spans                           int
	}{
		{"a batch", "POST", "/api/traces?format=jaeger.thrift", thriftType, posted(t, batch()), nil, 202, "", 1},
		{"its other content type", "POST", "/api/traces", "application/vnd.apache.thrift.binary; charset=x", posted(t, batch()), nil, 202, "", 1},
		{"no spans", "POST", "/api/traces", thriftType, posted(t, &jaeger.Batch{Process: &jaeger.Process{}}), nil, 202, "", 0},
		{"nothing", "POST", "/api/traces", thriftType, nil, nil, 400, "empty", 0},
		{"not Thrift", "POST", "/api/traces", thriftType, []byte("garbage"), nil, 400, "decode the batch", 0},
		{"a claim", "POST", "/api/traces", thriftType, hugeBatch, nil, 400, "size", 0},
		{"another content type", "POST", "/api/traces", "text/plain", posted(t, batch()), nil, 400, `is "text/plain"`, 0},
		{"no content type", "POST", "/api/traces", "", posted(t, batch()), nil, 400, "application/x-thrift", 0},
		{"another method", "GET", "/api/traces", thriftType, nil, nil, 405, "by POST", 0},
		{"another path", "POST", "/api/spans", thriftType, posted(t, batch()), nil, 404, "POST /api/traces", 0},
		{"too large", "POST", "/api/traces", thriftType, posted(t, many), nil, 413, "max_request_body_size (2000 bytes)", 0},
		{"refused for now", "POST", "/api/traces", thriftType, posted(t, batch()), errors.New("full"), 503, "full", 0},
		{"refused for good", "POST", "/api/traces", thriftType, posted(t, batch()), consumererror.NewPermanent(errors.New("deep")), 400, "deep", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := 0
			next, err := consumer.NewTraces(func(_ context.Context, td ptrace.Traces) error {
				if tc.refuse == nil {
					got += td.SpanCount()
				}
				return tc.refuse
			})
			require.NoError(t, err)
			cfg := confighttp.NewDefaultServerConfig()
			cfg.MaxRequestBodySize = 2000
			cfg.NetAddr.Endpoint = "127.0.0.1:0"
			s, err := newHTTPServer(receivertest.NewNopSettings(metadata.Type), cfg, next)
			require.NoError(t, err)
			require.NoError(t, s.start(t.Context(), componenttest.NewNopHost()))
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+s.serving.Addr().String()+tc.path, bytes.NewReader(tc.body))
			require.NoError(t, err)
			r.Header.Set("Content-Type", tc.contentType)
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			resp, err := client.Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, tc.status, resp.StatusCode, "%s", body)
			assert.Contains(t, string(body), tc.want)
			assert.Equal(t, tc.spans, got)
			require.NoError(t, s.stop(context.Background()))
		})
	}
}

// TestConnectionOutlivesReload: a client's connection is served by the next receiver.
func TestConnectionOutlivesReload(t *testing.T) {
	procstate.Default.SetGrace(time.Hour)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := confighttp.NewDefaultServerConfig()
	cfg.NetAddr.Endpoint = l.Addr().String()
	require.NoError(t, l.Close())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 3 {
		s, err := newHTTPServer(receivertest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, s.start(t.Context(), componenttest.NewNopHost()))
		var reused bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+cfg.NetAddr.Endpoint+"/api/traces", strings.NewReader("no batch"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-thrift")
		resp, err := client.Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusBadRequest, resp.StatusCode)
		assert.Equal(t, i > 0, reused)
		require.NoError(t, s.stop(t.Context()))
	}
}
