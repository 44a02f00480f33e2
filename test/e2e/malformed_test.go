package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestMalformedOTLP sends what OTLP does not allow over HTTP. The status codes are those of the OTLP specification
// (section OTLP/HTTP Response), and where the stock receiver has another one the line says so: docs/receivers.md has
// the same list.
func TestMalformedOTLP(t *testing.T) {
	b := local(t)
	const jsonType, protoType = "application/json", "application/x-protobuf"
	id16, id8 := randomHex(t, 16), randomHex(t, 8)
	span := func(fields string) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + fields + `}]}]}]}`
	}
	for _, c := range []struct {
		name, method, contentType, encoding, body string
		status                                    int
	}{
		{"empty protobuf", "POST", protoType, "", "", 200},
		{"empty JSON object", "POST", jsonType, "", "{}", 200},
		{"unknown JSON fields are ignored", "POST", jsonType, "", `{"resourceSpans":[],"future":{"x":[1]}}`, 200},
		{"a charset", "POST", jsonType + "; charset=utf-8", "", "{}", 200},
		{"not protobuf", "POST", protoType, "", "garbage", 400},
		{"cut protobuf", "POST", protoType, "", "\x0a\x10abc", 400},
		{"not JSON", "POST", jsonType, "", "garbage", 400},
		{"cut JSON", "POST", jsonType, "", `{"resourceSpans":[`, 400},
		{"empty JSON", "POST", jsonType, "", "", 400},
		{"an id that is not hex", "POST", jsonType, "", span(`"traceId":"` + strings.Repeat("z", 32) + `","spanId":"` + id8 + `"`), 400},
		{"a short trace id", "POST", jsonType, "", span(`"traceId":"abcd","spanId":"` + id8 + `"`), 400},
		{"an id in base64", "POST", jsonType, "", span(`"traceId":"AQIDBAUGBwgJCgsMDQ4PEA==","spanId":"` + id8 + `"`), 400},
		{"a long span id", "POST", jsonType, "", span(`"traceId":"` + id16 + `","spanId":"` + id16 + `"`), 400},
		{"protobuf said to be JSON", "POST", jsonType, "", "\x0a\x00", 400},
		{"text", "POST", "text/plain", "", "x", 415},
		{"no content type", "POST", "", "", "x", 415},
		{"form", "POST", "application/x-www-form-urlencoded", "", "a=b", 415},
		{"GET", "GET", jsonType, "", "", 405},
		{"PUT", "PUT", jsonType, "", "{}", 405},
		{"not gzip", "POST", jsonType, "gzip", "{}", 400},
		{"unknown compression", "POST", jsonType, "bogus", "{}", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := []string{"Content-Type", c.contentType}
			if c.encoding != "" {
				header = append(header, "Content-Encoding", c.encoding)
			}
			r := b.Do(c.method, b.TracesURL(), strings.NewReader(c.body), header...)
			assert.Equal(t, c.status, r.Status, "%s", r.Body)
			if c.status == http.StatusBadRequest {
				checkStatusBody(t, r, c.contentType)
			}
		})
	}
	td := everyField(t)
	sendGRPC(t, b, td)
	requireSame(t, td, b.Trace(harness.Spans(td)[0].GetTraceId()))
	assert.NotContains(t, b.Log.String(), "panic")
}

// checkStatusBody wants a google.rpc.Status in the encoding of the request, as OTLP does for refusals.
func checkStatusBody(t *testing.T, r harness.Reply, contentType string) {
	t.Helper()
	st := &statuspb.Status{}
	switch contentType {
	case "application/x-protobuf":
		require.NoError(t, proto.Unmarshal(r.Body, st))
	case "application/json":
		var body struct {
			Code    int32
			Message string
		}
		require.NoError(t, json.Unmarshal(r.Body, &body), "%s", r.Body)
		st.Code, st.Message = body.Code, body.Message
	}
	assert.Equal(t, contentType, r.Header.Get("Content-Type"))
	assert.Equal(t, int32(codes.InvalidArgument), st.GetCode())
	assert.NotEmpty(t, st.GetMessage())
}

// TestOversizedOTLP sends more than the shipped limits of 32 MiB, and a small request that grows to more than that when
// it is decompressed. Nothing of it reaches the store, and the process's memory stays small.
func TestOversizedOTLP(t *testing.T) {
	b := local(t)
	const limit = 32 << 20
	big := everyField(t)
	span := harness.Spans(big)[0]
	span.Attributes = append(span.Attributes, kv("big", str(strings.Repeat("x", limit))))
	req := &coltracepb.ExportTraceServiceRequest{ResourceSpans: big.GetResourceSpans()}
	raw, err := proto.Marshal(req)
	require.NoError(t, err)

	r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(raw), "Content-Type", "application/x-protobuf")
	assert.Equal(t, http.StatusBadRequest, r.Status, "the stock receiver answers 400, not 413: %s", r.Body)
	assert.Contains(t, string(r.Body), "request body too large")

	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, err = zw.Write(raw)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	require.Less(t, zipped.Len(), 1<<20)
	r = b.Do(http.MethodPost, b.TracesURL(), &zipped, "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip")
	assert.Equal(t, http.StatusBadRequest, r.Status, "%s", r.Body)
	assert.Contains(t, string(r.Body), "request body too large")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = coltracepb.NewTraceServiceClient(harness.Dial(t, b.GRPC())).Export(ctx, req, grpc.MaxCallSendMsgSize(2*limit))
	assert.Equal(t, codes.ResourceExhausted, status.Code(err), "gRPC's own code; without RetryInfo SDKs drop: %v", err)
	assert.Nil(t, b.Trace(span.GetTraceId()))

	// Just below the limit is taken.
	span.Attributes[len(span.Attributes)-1] = kv("big", str(strings.Repeat("x", limit-1<<20)))
	sendGRPC(t, b, big)
	requireSame(t, big, b.Trace(span.GetTraceId()))
	assert.True(t, b.Running())
	t.Logf("resident memory afterwards: %d MiB", residentKiB(t, b.PID())>>10)
}

// TestInvalidUTF8 sends strings that are not UTF-8, which protobuf forbids and some clients send. Whether they are
// refused or mended, the trace stays readable for decoders that insist on UTF-8.
func TestInvalidUTF8(t *testing.T) {
	b := local(t)
	td := everyField(t)
	span := harness.Spans(td)[0]
	span.Name = "marker-of-this-test"
	raw, err := proto.Marshal(td)
	require.NoError(t, err)
	raw = bytes.ReplaceAll(raw, []byte("marker-of-this-test"), []byte("marker\xff\xfe-of-thistest"))
	r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(raw), "Content-Type", "application/x-protobuf")
	if r.Status == http.StatusBadRequest {
		return
	}
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	got := b.Trace(span.GetTraceId())
	require.Len(t, harness.Spans(got), len(harness.Spans(td)))
	j := b.Get(fmt.Sprintf("/api/v2/traces/%x", span.GetTraceId()))
	require.Equal(t, http.StatusOK, j.Status)
	assert.True(t, utf8.Valid(j.Body), "the answer in JSON")
	assert.True(t, json.Valid(j.Body), "the answer in JSON")
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	raw, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: want bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
}

func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = rawCodec{}

// TestMutatedOTLP sends valid requests with random damage by every protocol: each is answered, with success or as the
// client's fault, and the process lives. BRAMBLE_FULL makes it longer.
func TestMutatedOTLP(t *testing.T) {
	rounds := 400
	if full() {
		rounds = 20_000
	}
	b := local(t)
	rng := rand.New(rand.NewPCG(3, 4))
	td := everyField(t)
	for _, s := range harness.Spans(td) { // Long values make for boring damage.
		for _, kv := range s.GetAttributes() {
			if len(kv.GetValue().GetStringValue()) > 1000 {
				kv.Value = str("short")
			}
		}
	}
	raw, err := proto.Marshal(td)
	require.NoError(t, err)
	jsonText := toJSON(t, raw)
	conn := harness.Dial(t, b.GRPC())
	seen := map[string]int{}
	for range rounds {
		r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(damage(rng, raw)), "Content-Type", "application/x-protobuf")
		require.Contains(t, []int{200, 400}, r.Status, "%s", r.Body)
		seen[fmt.Sprint("protobuf ", r.Status)]++
		r = b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(damage(rng, jsonText)), "Content-Type", "application/json")
		// The stock receiver cannot encode its own 400 when that would quote bytes that are not UTF-8.
		if r.Status == http.StatusInternalServerError {
			require.JSONEq(t, `{"code": 13, "message": "failed to marshal error message"}`, string(r.Body))
		} else {
			require.Contains(t, []int{200, 400}, r.Status, "%s", r.Body)
		}
		seen[fmt.Sprint("JSON ", r.Status)]++
		err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", damage(rng, raw), new([]byte), grpc.ForceCodecV2(rawCodec{}))
		// The stock receiver answers Internal, which is grpc-go's code for a message that it cannot decode.
		require.Contains(t, []codes.Code{codes.OK, codes.InvalidArgument, codes.Internal}, status.Code(err), "%v", err)
		seen["gRPC "+status.Code(err).String()]++
	}
	assert.True(t, b.Running())
	assert.NotContains(t, b.Log.String(), "panic")
	sendGRPC(t, b, td)
	b.Kill()
	b.Restart()
	require.NotNil(t, b.Trace(harness.Spans(td)[0].GetTraceId()))
	t.Logf("answers to damaged requests: %v", seen)
	for _, some := range []string{"protobuf 400", "JSON 400", "protobuf 200"} {
		assert.Positive(t, seen[some], some)
	}
}

// damage changes, removes or repeats a few bytes.
func damage(rng *rand.Rand, in []byte) []byte {
	out := bytes.Clone(in)
	for range 1 + rng.IntN(4) {
		if len(out) < 2 {
			return out
		}
		at := rng.IntN(len(out))
		n := min(1+rng.IntN(20), len(out)-at)
		switch rng.IntN(4) {
		case 0:
			out[at] ^= 1 << rng.IntN(8)
		case 1:
			out[at] = byte(rng.IntN(256))
		case 2:
			out = append(out[:at], out[at+n:]...)
		case 3:
			out = append(out[:at], append(bytes.Clone(out[at:at+n]), out[at:]...)...)
		}
	}
	return out
}
