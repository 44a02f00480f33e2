package otlpreceiver

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	stock "go.opentelemetry.io/collector/receiver/otlpreceiver"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// limit is the largest body of the receivers under test, in bytes.
const limit = 64 << 10

// post is one request over HTTP and what differs from the Collector's answer, if anything.
type post struct {
	name        string
	method      string // POST if empty
	path        string // traces if empty
	contentType string // protobuf if empty
	encoding    string
	body        []byte
	refuse      error // of the pipeline
	// differs names what we answer otherwise: status, text or retry-after.
	differs string
	want    int // the status, where it differs
}

func posts(t *testing.T) []post {
	t.Helper()
	good, goodJSON := encoded(t, ptraceotlp.NewExportRequestFromTraces(someTraces("x")))
	metrics, metricsJSON := encoded(t, pmetricotlp.NewExportRequestFromMetrics(someMetrics()))
	logs, logsJSON := encoded(t, plogotlp.NewExportRequestFromLogs(someLogs()))
	profiles, profilesJSON := encoded(t, pprofileotlp.NewExportRequestFromProfiles(someProfiles()))
	large, largeJSON := encoded(t, ptraceotlp.NewExportRequestFromTraces(someTraces(strings.Repeat("x", limit))))
	throttle := func(d time.Duration) error {
		s, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		require.NoError(t, err)
		return s.Err()
	}
	out := []post{
		{name: "traces", body: good},
		{name: "traces in JSON", contentType: jsonType, body: goodJSON},
		{name: "metrics", path: "/v1/metrics", body: metrics},
		{name: "metrics in JSON", path: "/v1/metrics", contentType: jsonType, body: metricsJSON},
		{name: "logs", path: "/v1/logs", body: logs},
		{name: "logs in JSON", path: "/v1/logs", contentType: jsonType, body: logsJSON},
		{name: "profiles", path: profilesPath, body: profiles},
		{name: "profiles in JSON", path: profilesPath, contentType: jsonType, body: profilesJSON},
		{name: "empty", body: nil},
		{name: "empty JSON", contentType: jsonType, body: []byte("{}")},
		{name: "no JSON", contentType: jsonType, body: nil},
		{name: "unknown fields in JSON", contentType: jsonType, body: []byte(`{"resourceSpans":[],"more":1}`)},
		{name: "parameters of the type", contentType: "application/json; charset=utf-8", body: goodJSON},
		{name: "capitals in the type", contentType: "Application/JSON", body: goodJSON},
		{name: "another path", path: "/v1/spans", body: good, differs: "text"},
		{name: "root", path: "/", body: good, differs: "text"},
		{name: "GET", method: http.MethodGet, differs: "text"},
		{name: "PUT", method: http.MethodPut, body: good, differs: "text"},
		{name: "text", contentType: "text/plain", body: good, differs: "text"},
		{name: "a type that is none", contentType: ";;", body: good, differs: "text"},
		{name: "no type", contentType: "-", body: good, differs: "text"},
		{name: "not protobuf", body: []byte("hello there")},
		{name: "cut short", body: good[:len(good)-3]},
		{name: "not JSON", contentType: jsonType, body: []byte("{hello")},
		{name: "base64 ids in JSON", contentType: jsonType, body: bytes.ReplaceAll(goodJSON, []byte("01020300000000000000000000000000"), []byte("AQIDAAAAAAAAAAAAAAAAAA=="))},
		{name: "protobuf as JSON", contentType: jsonType, body: good},
		{name: "JSON that is not UTF-8", contentType: jsonType, body: []byte("{\"resourceSpans\":\xff\xfe}"), differs: "status", want: http.StatusBadRequest},
		{name: "too large", body: large},
		{name: "too large in JSON", contentType: jsonType, body: largeJSON},
		{name: "too large when decompressed", encoding: "gzip", body: gzipped(t, large)},
		{name: "gzip", encoding: "gzip", body: gzipped(t, good)},
		{name: "zstd", encoding: "zstd", body: zstandard(t, good)},
		{name: "gzip that is none", encoding: "gzip", body: good},
		{name: "gzip cut short", encoding: "gzip", body: gzipped(t, good)[:20]},
		{name: "unknown compression", encoding: "br", body: good},
		{name: "unknown compression in JSON", contentType: jsonType, encoding: "br", body: good},
		{name: "unknown compression in text", contentType: "text/plain", encoding: "br", body: good, differs: "status", want: http.StatusBadRequest},
		{name: "refused", body: good, refuse: errors.New("later")},
		{name: "refused in JSON", contentType: jsonType, body: goodJSON, refuse: errors.New("later")},
		{name: "refused for good", body: good, refuse: consumererror.NewPermanent(errors.New("never"))},
		{name: "refused for good in JSON", contentType: jsonType, body: goodJSON, refuse: consumererror.NewPermanent(errors.New("never"))},
		{name: "refused as bad", body: good, refuse: consumererror.NewPermanent(status.Error(codes.InvalidArgument, "bad"))},
		{name: "throttled", body: good, refuse: throttle(7 * time.Second)},
		{name: "throttled in JSON", contentType: jsonType, body: goodJSON, refuse: throttle(7 * time.Second)},
		{name: "throttled for a moment", body: good, refuse: throttle(300 * time.Millisecond), differs: "retry-after"},
		{name: "refused in words that are not UTF-8", contentType: jsonType, body: goodJSON, refuse: errors.New("\xff"), differs: "status", want: http.StatusServiceUnavailable},
		{name: "metrics refused", path: "/v1/metrics", body: metrics, refuse: errors.New("later")},
		{name: "logs refused", path: "/v1/logs", body: logs, refuse: errors.New("later")},
		{name: "profiles refused", path: profilesPath, body: profiles, refuse: errors.New("later")},
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		out = append(out, post{name: "refused with " + c.String(), body: good, refuse: status.Error(c, "so")})
	}
	return out
}

// TestHTTPAnswers sends the same requests to the Collector's receiver and to ours. What differs is said in the README.
func TestHTTPAnswers(t *testing.T) {
	theirs, ours := startReceiver(t, stock.NewFactory(), nil), startReceiver(t, NewFactory(), nil)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for _, p := range posts(t) {
		t.Run(p.name, func(t *testing.T) {
			want, got := theirs.post(t, client, &p), ours.post(t, client, &p)
			if p.differs == "status" {
				assert.Equal(t, http.StatusInternalServerError, want.code, "the Collector has changed: see the README")
				assert.Equal(t, p.want, got.code)
				assert.NotZero(t, got.status.GetCode())
				return
			}
			assert.Equal(t, want.code, got.code)
			assert.Equal(t, want.contentType, got.contentType)
			if p.differs == "retry-after" {
				assert.Equal(t, "0", want.retryAfter, "the Collector has changed: see the README")
				assert.Equal(t, "1", got.retryAfter)
			} else {
				assert.Equal(t, want.retryAfter, got.retryAfter)
			}
			if p.differs == "text" {
				assert.NotEmpty(t, got.body)
				assert.Equal(t, got.code == http.StatusMethodNotAllowed, got.allow == http.MethodPost)
				return
			}
			if want.status == nil || !assert.NotNil(t, got.status) {
				assert.Equal(t, string(want.body), string(got.body))
				return
			}
			assert.True(t, proto.Equal(want.status, got.status), "want %v, got %v", want.status, got.status)
		})
	}
	theirs.check(t, ours)
}

// TestGRPCAnswers does it over gRPC.
func TestGRPCAnswers(t *testing.T) {
	theirs, ours := startReceiver(t, stock.NewFactory(), nil), startReceiver(t, NewFactory(), nil)
	refusals := []error{
		nil, errors.New("later"), consumererror.NewPermanent(errors.New("never")), errors.New("\xff"),
		consumererror.NewPermanent(status.Error(codes.InvalidArgument, "bad")),
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		refusals = append(refusals, status.Error(c, "so"))
	}
	throttled, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	require.NoError(t, err)
	refusals = append(refusals, throttled.Err())
	for name, send := range grpcCalls() {
		for _, refusal := range refusals {
			want, got := theirs.call(t, refusal, send), ours.call(t, refusal, send)
			assert.True(t, proto.Equal(want.Proto(), got.Proto()), "%s refused with %v: want %v, got %v", name, refusal, want, got)
		}
	}
	for name, raw := range map[string][]byte{"not protobuf": []byte("hello"), "empty": nil} {
		want, got := theirs.raw(t, raw), ours.raw(t, raw)
		assert.True(t, proto.Equal(want.Proto(), got.Proto()), "%s: want %v, got %v", name, want, got)
	}
	theirs.check(t, ours)
}

// answered is an answer over HTTP.
type answered struct {
	code                           int
	contentType, retryAfter, allow string
	body                           []byte
	status                         *spb.Status // nil unless the body is one
}

func (r *running) post(t *testing.T, client *http.Client, p *post) answered {
	t.Helper()
	r.refuse(p.refuse)
	method, path := p.method, p.path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/v1/traces"
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.http+path, bytes.NewReader(p.body))
	require.NoError(t, err)
	switch p.contentType {
	case "":
		req.Header.Set("Content-Type", protoType)
	case "-":
	default:
		req.Header.Set("Content-Type", p.contentType)
	}
	if p.encoding != "" {
		req.Header.Set("Content-Encoding", p.encoding)
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := answered{
		code: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), retryAfter: resp.Header.Get("Retry-After"),
		allow: resp.Header.Get("Allow"), body: body,
	}
	if a.code != http.StatusOK {
		s := &spb.Status{}
		switch a.contentType {
		case protoType:
			require.NoError(t, proto.Unmarshal(body, s))
			a.status = s
		case jsonType:
			require.NoError(t, protojson.Unmarshal(body, s))
			a.status = s
		}
	}
	return a
}

func encoded(t *testing.T, r interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
},
) (asProto, asJSON []byte) {
	t.Helper()
	asProto, err := r.MarshalProto()
	require.NoError(t, err)
	asJSON, err = r.MarshalJSON()
	require.NoError(t, err)
	return asProto, asJSON
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	return w.EncodeAll(b, nil)
}

func someTraces(name string) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetName(name)
	s.SetTraceID([16]byte{1, 2, 3})
	s.SetSpanID([8]byte{4, 5})
	s.SetStartTimestamp(0x1818181818181818) // In 2025, and UTF-8 where it is quoted.
	s.Attributes().PutEmptyBytes("bytes").FromRaw([]byte{6, 7})
	return td
}

func someMetrics() pmetric.Metrics {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("m")
	m.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1)
	return md
}

func someLogs() plog.Logs {
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("hello")
	return ld
}

func someProfiles() pprofile.Profiles {
	pd := pprofile.NewProfiles()
	pd.ResourceProfiles().AppendEmpty().ScopeProfiles().AppendEmpty().Profiles().AppendEmpty().Samples().AppendEmpty()
	return pd
}
