package zipkinreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv1"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// encoding is one of the forms of spans that are taken.
type encoding struct {
	transport, format string // in the receiver's own metrics and spans; contrib's names
	decode            func(body []byte) (ptrace.Traces, error)
}

// encodings are all of them, by version and content type. Another content type is JSON, as it is for contrib's receiver.
type encodings struct {
	v1JSON, v1Thrift, v2JSON, v2Proto, v2ProtoDebug encoding
}

func newEncodings(parseStringTags bool) *encodings {
	const v1, v2 = "zipkinV1", "zipkinV2"
	return &encodings{
		v1JSON:       encoding{"http_v1_json", v1, zipkinv1.NewJSONTracesUnmarshaler(parseStringTags).UnmarshalTraces},
		v1Thrift:     encoding{"http_v1_thrift", v1, decodeThrift},
		v2JSON:       encoding{"http_v2_json", v2, zipkinv2.NewJSONTracesUnmarshaler(parseStringTags).UnmarshalTraces},
		v2Proto:      encoding{"http_v2_proto", v2, zipkinv2.NewProtobufTracesUnmarshaler(false, parseStringTags).UnmarshalTraces},
		v2ProtoDebug: encoding{"http_v2_proto", v2, zipkinv2.NewProtobufTracesUnmarshaler(true, parseStringTags).UnmarshalTraces},
	}
}

func (e *encodings) of(r *http.Request) *encoding {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		contentType = ""
	}
	v1 := strings.Contains(r.URL.Path, "api/v1/spans")
	switch {
	case v1 && contentType == "application/x-thrift":
		return &e.v1Thrift
	case v1:
		return &e.v1JSON
	case contentType != "application/x-protobuf":
		return &e.v2JSON
	case r.Header.Get("X-B3-Flags") == "1": // The spans that are to be kept for debugging.
		return &e.v2ProtoDebug
	}
	return &e.v2Proto
}

// errPanicked is an error of the code that decodes, not of the client.
var errPanicked = errors.New("the spans cannot be decoded")

// spans decodes a body. It does not panic, whatever the body holds.
func (e *encoding) spans(body []byte) (td ptrace.Traces, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errPanicked, p, debug.Stack())
		}
	}()
	return e.decode(body)
}

// decodeThrift reads the list of spans twice: first with the body's size as the limit of what a list or a string in it may
// claim to have, because contrib's decoder has none.
func decodeThrift(body []byte) (ptrace.Traces, error) {
	n := int32(min(len(body), math.MaxInt32))
	in := thrift.NewTBinaryProtocolConf(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(body)}, &thrift.TConfiguration{MaxMessageSize: n, MaxFrameSize: n})
	ctx := context.Background()
	_, count, err := in.ReadListBegin(ctx)
	if err != nil {
		return ptrace.Traces{}, err
	}
	for range count {
		if err := new(zipkincore.Span).Read(ctx, in); err != nil {
			return ptrace.Traces{}, err
		}
	}
	return zipkinv1.NewThriftTracesUnmarshaler().UnmarshalTraces(body)
}
