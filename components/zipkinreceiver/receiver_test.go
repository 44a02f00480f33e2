package zipkinreceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/zipkinreceiver"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/bramble-tracing/bramble/components/zipkinreceiver/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// maxBody is the largest body of the receivers under test, in bytes.
const maxBody = 4000

// sink is the pipeline behind a receiver.
type sink struct {
	mu     sync.Mutex
	got    []string // in OTLP's JSON
	refuse error
}

func (*sink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (s *sink) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	b, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
	if td.SpanCount() > 0 { // Contrib's receiver passes on nothing, too.
		s.got = append(s.got, string(b))
	}
	return err
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// running is a receiver, its pipeline and its own metrics.
type running struct {
	sink sink
	addr string
	tel  *componenttest.Telemetry
	r    receiver.Traces
}

func start(t *testing.T, f receiver.Factory, addr string) *running {
	t.Helper()
	r := &running{addr: addr, tel: componenttest.NewTelemetry()}
	cfg := f.CreateDefaultConfig().(*Config)
	cfg.ServerConfig.NetAddr.Endpoint = addr
	cfg.ServerConfig.MaxRequestBodySize = maxBody
	cfg.ServerConfig.KeepAlivesEnabled = true
	set := receivertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = r.tel.NewTelemetrySettings()
	var err error
	r.r, err = f.CreateTraces(t.Context(), set, cfg, &r.sink)
	require.NoError(t, err)
	require.NoError(t, r.r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, r.r.Shutdown(context.Background()))
		require.NoError(t, r.tel.Shutdown(context.Background()))
	})
	return r
}

func send(t *testing.T, c *http.Client, method, addr, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

const (
	v2JSON = `[{"traceId":"5b8efff798038103d269b633813fc60c","id":"eee19b7ec3c1b174","parentId":"1","kind":"SERVER","name":"get","timestamp":1795785690000000,"duration":2500,
		"localEndpoint":{"serviceName":"shop"},"tags":{"error":"gone"},"annotations":[{"timestamp":1795785690000001,"value":"miss"}]}]`
	v1JSON = `[{"traceId":"d269b633813fc60c","id":"eee19b7ec3c1b174","name":"get","timestamp":1795785690000000,"duration":2500,
		"annotations":[{"timestamp":1795785690000000,"value":"sr","endpoint":{"serviceName":"shop"}}],"binaryAnnotations":[{"key":"k","value":"v","endpoint":{"serviceName":"shop"}}]}]`
)

func v2Proto(t testing.TB) string {
	t.Helper()
	td, err := zipkinv2.NewJSONTracesUnmarshaler(false).UnmarshalTraces([]byte(v2JSON))
	require.NoError(t, err)
	b, err := zipkinv2.NewProtobufTracesMarshaler().MarshalTraces(td)
	require.NoError(t, err)
	return string(b)
}

func v1Thrift(t testing.TB) string {
	t.Helper()
	ctx, buf := context.Background(), thrift.NewTMemoryBuffer()
	out := thrift.NewTBinaryProtocolConf(buf, nil)
	require.NoError(t, out.WriteListBegin(ctx, thrift.STRUCT, 1))
	start, took := int64(1795785690000000), int64(2500)
	s := &zipkincore.Span{
		TraceID: 7, ID: 8, Name: "get", Timestamp: &start, Duration: &took,
		Annotations:       []*zipkincore.Annotation{{Timestamp: start, Value: "sr", Host: &zipkincore.Endpoint{ServiceName: "shop"}}},
		BinaryAnnotations: []*zipkincore.BinaryAnnotation{{Key: "k", Value: []byte("v"), AnnotationType: zipkincore.AnnotationType_STRING}},
	}
	require.NoError(t, s.Write(ctx, out))
	return buf.String()
}

// claim is a span of a few bytes that claims to have 90 million annotations.
func claim(t testing.TB) string {
	t.Helper()
	ctx, buf := context.Background(), thrift.NewTMemoryBuffer()
	out := thrift.NewTBinaryProtocolConf(buf, nil)
	require.NoError(t, out.WriteListBegin(ctx, thrift.STRUCT, 1))
	require.NoError(t, out.WriteFieldBegin(ctx, "annotations", thrift.LIST, 6))
	require.NoError(t, out.WriteListBegin(ctx, thrift.STRUCT, 90_000_000))
	return buf.String()
}

// TestAnswers sends the same to contrib's receiver and to ours: what is passed on and counted is equal, and so are the
// answers, but for what the README lists.
func TestAnswers(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := io.WriteString(w, v2JSON)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	const (
		asJSON, asProto, asThrift = "application/json", "application/x-protobuf", "application/x-thrift"
		v1, v2                    = "/api/v1/spans", "/api/v2/spans"
	)
	theirs, ours := start(t, contrib.NewFactory(), freePort(t)), start(t, NewFactory(), freePort(t))
	c := newClient(t)
	for _, tc := range []struct {
		name, path, contentType, encoding, body string
		refuse                                  error
		status, contribs                        int    // contribs is 0 where it is the same
		says                                    string // ours
	}{
		{"v2", v2, asJSON, "", v2JSON, nil, 202, 0, ""},
		{"v2, no content type", v2, "", "", v2JSON, nil, 202, 0, ""},
		{"v2, gzip", v2, asJSON, "gzip", zipped.String(), nil, 202, 0, ""},
		{"v2, another path", "/", asJSON, "", v2JSON, nil, 202, 0, ""},
		{"v2, protobuf", v2, asProto, "", v2Proto(t), nil, 202, 0, ""},
		{"v1", v1, asJSON, "", v1JSON, nil, 202, 0, ""},
		{"v1, Thrift", v1, asThrift, "", v1Thrift(t), nil, 202, 0, ""},
		{"no spans", v2, asJSON, "", "[]", nil, 202, 0, ""},
		{"nothing", v2, asJSON, "", "", nil, 400, 0, "the body is empty"},
		{"cut JSON", v2, asJSON, "", v2JSON[:70], nil, 400, 0, "decode the spans (http_v2_json): unexpected end"},
		{"bad protobuf", v2, asProto, "", "garbage", nil, 400, 0, "http_v2_proto"},
		{"bad Thrift", v1, asThrift, "", "garbage", nil, 400, 0, "http_v1_thrift"},
		{"a claim", v1, asThrift, "", claim(t), nil, 400, 0, "size"},
		{"not gzip", v2, asJSON, "gzip", v2JSON, nil, 400, 0, "gzip"},
		{"too large", v2, asJSON, "", "[" + strings.Repeat(" ", maxBody) + "]", nil, 413, 400, "max_request_body_size (4000 bytes)"},
		{"refused for now", v2, asJSON, "", v2JSON, errors.New("full"), 503, 500, "store the spans: full"},
		{"refused for good", v2, asJSON, "", v2JSON, consumererror.NewPermanent(errors.New("deep")), 400, 0, "deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := []string{"Content-Encoding", tc.encoding}
			if tc.encoding == "" {
				header = nil
			}
			if tc.contentType != "" {
				header = append(header, "Content-Type", tc.contentType)
			}
			theirs.sink.refuse, ours.sink.refuse = tc.refuse, tc.refuse
			if tc.name != "a claim" { // Which takes 720 MB there.
				resp, _ := send(t, c, http.MethodPost, theirs.addr, tc.path, tc.body, header...)
				if tc.contribs == 0 {
					tc.contribs = tc.status
				}
				answered := resp.StatusCode
				assert.Equal(t, tc.contribs, answered, "contrib has changed: see the README")
			}
			got, body := send(t, c, http.MethodPost, ours.addr, tc.path, tc.body, header...)
			assert.Equal(t, tc.status, got.StatusCode, body)
			assert.Contains(t, body, tc.says)
			assert.Equal(t, tc.status == 503, got.Header.Get("Retry-After") != "")
		})
	}
	assert.Len(t, ours.sink.got, 7)
	assert.Equal(t, theirs.sink.got, ours.sink.got)

	got, body := send(t, c, http.MethodGet, ours.addr, "/zipkin/", "")
	assert.Equal(t, http.StatusMethodNotAllowed, got.StatusCode)
	assert.Equal(t, "POST", got.Header.Get("Allow"))
	assert.Contains(t, body, "/api/v2/spans")
	_, err = ours.tel.GetMetric("otelcol_receiver_accepted_spans")
	require.NoError(t, err)
}

// TestClaimsAreBounded: a message takes memory in proportion to its size.
func TestClaimsAreBounded(t *testing.T) {
	body := []byte(claim(t))
	e := newEncodings(false)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := e.v1Thrift.spans(body)
	runtime.ReadMemStats(&after)
	require.Error(t, err)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(10<<20), "bytes for a message of %d", len(body))
}

// TestConnectionOutlivesReload: a client's connection is served by the next receiver, and a request that comes in between
// waits for it.
func TestConnectionOutlivesReload(t *testing.T) {
	procstate.Default.SetGrace(time.Hour)
	t.Cleanup(func() {
		procstate.Default.SetGrace(0)
		require.NoError(t, procstate.Default.CloseAll())
	})
	addr, c := freePort(t), newClient(t)
	request := func() (status int, reused bool) {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { reused = g.Reused }})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/api/v2/spans", strings.NewReader(v2JSON))
		if !assert.NoError(t, err) {
			return 0, false
		}
		resp, err := c.Do(r)
		if !assert.NoError(t, err) {
			return 0, false
		}
		_, err = io.Copy(io.Discard, resp.Body)
		assert.NoError(t, err)
		assert.NoError(t, resp.Body.Close())
		return resp.StatusCode, reused
	}
	var between sync.WaitGroup
	for i := range 3 {
		r := start(t, NewFactory(), addr)
		between.Wait() // What was sent while there was no receiver.
		status, reused := request()
		assert.Equal(t, http.StatusAccepted, status)
		assert.Equal(t, i > 0, reused)
		require.NoError(t, r.r.Shutdown(t.Context()))
		if i < 2 {
			between.Go(func() {
				status, reused := request()
				assert.Equal(t, http.StatusAccepted, status)
				assert.True(t, reused)
			})
		}
	}
}

// TestPanic: what the decoding code does not survive costs one request.
func TestPanic(t *testing.T) {
	e := encoding{decode: func([]byte) (ptrace.Traces, error) { panic("oops") }}
	_, err := e.spans(nil)
	require.ErrorIs(t, err, errPanicked)
	require.ErrorContains(t, err, "oops")
}

// FuzzSpans: no body makes the decoders panic, and what they take can be encoded.
func FuzzSpans(f *testing.F) {
	for i, s := range []string{v1JSON, v1Thrift(f), v2JSON, v2Proto(f), v2Proto(f)} {
		f.Add(byte(i), []byte(s))
	}
	f.Add(byte(1), []byte(claim(f)))
	e := newEncodings(true)
	all := []*encoding{&e.v1JSON, &e.v1Thrift, &e.v2JSON, &e.v2Proto, &e.v2ProtoDebug}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		td, err := all[int(which)%len(all)].spans(body)
		require.NotErrorIs(t, err, errPanicked)
		if err == nil {
			_, err = new(ptrace.ProtoMarshaler).MarshalTraces(td)
			require.NoError(t, err)
		}
	})
}
