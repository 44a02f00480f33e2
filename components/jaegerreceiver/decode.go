package jaegerreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/agent"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/jaeger"
	"github.com/jaegertracing/jaeger-idl/thrift-gen/zipkincore"
	jaegertranslator "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/jaeger"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// dropReason is the attribute reason of otelcol_jaeger_udp_dropped_packets; metadata.yaml lists the values.
type dropReason string

const (
	malformed   dropReason = "malformed"
	unsupported dropReason = "unsupported"
	tooLarge    dropReason = "too_large"
	queueFull   dropReason = "queue_full"
	panicked    dropReason = "panic"
)

// dropError says why nothing of a packet was taken.
type dropError struct {
	reason dropReason
	err    error
}

// maxReason bounds what an error says, in bytes: it may quote a packet at length.
const maxReason = 200

func (e *dropError) Error() string {
	s := e.err.Error()
	if e.reason != panicked && len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

func (e *dropError) Unwrap() error { return e.err }

var (
	errNoBatch = errors.New("the call has no batch")
	// errZipkin: Jaeger's agent took Zipkin's Thrift spans on port 5775, which no client since Jaeger 1.0 uses.
	errZipkin = errors.New("emitZipkinBatch is not supported: send Zipkin spans to the zipkin receiver")
)

func binaryProtocol(c *thrift.TConfiguration) thrift.TProtocolFactory {
	return thrift.NewTBinaryProtocolFactoryConf(c)
}

func compactProtocol(c *thrift.TConfiguration) thrift.TProtocolFactory {
	return thrift.NewTCompactProtocolFactoryConf(c)
}

// decode reads a call of the Thrift service Agent and translates its batch. It returns the number of spans that the
// batch holds. Errors are of type *dropError; it does not panic, whatever the packet holds, and takes memory in
// proportion to the packet's size.
func decode(ctx context.Context, packet []byte, protocol func(*thrift.TConfiguration) thrift.TProtocolFactory) (td ptrace.Traces, spans int, err error) {
	defer catch(&err)
	if len(packet) == 0 {
		return td, 0, &dropError{malformed, errors.New("the packet is empty")}
	}
	conf := limits(packet)
	in := protocol(conf).GetProtocol(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(packet)})
	// Calls are one-way. The generated code writes an answer only to a call of an unknown method, to nobody.
	out := protocol(conf).GetProtocol(thrift.NewTMemoryBuffer())
	var call agentCall
	if _, err := agent.NewAgentProcessor(&call).Process(ctx, in, out); err != nil {
		reason := malformed
		if unknown, ok := errors.AsType[thrift.TApplicationException](err); errors.Is(err, errZipkin) || ok && unknown.TypeId() == thrift.UNKNOWN_METHOD {
			reason = unsupported
		}
		return td, 0, &dropError{reason, err}
	}
	if call.batch == nil {
		return td, 0, &dropError{malformed, errNoBatch}
	}
	return translate(call.batch)
}

// decodeBatch reads a batch that was sent by itself in Thrift's binary protocol, as over HTTP. It promises what decode does.
func decodeBatch(ctx context.Context, body []byte) (td ptrace.Traces, spans int, err error) {
	defer catch(&err)
	if len(body) == 0 {
		return td, 0, &dropError{malformed, errors.New("the body is empty")}
	}
	var batch jaeger.Batch
	in := binaryProtocol(limits(body)).GetProtocol(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(body)})
	if err := batch.Read(ctx, in); err != nil {
		return td, 0, &dropError{malformed, err}
	}
	return translate(&batch)
}

// limits says that a list or string cannot be larger than what carries it.
func limits(message []byte) *thrift.TConfiguration {
	n := int32(min(len(message), math.MaxInt32))
	return &thrift.TConfiguration{MaxMessageSize: n, MaxFrameSize: n}
}

func translate(batch *jaeger.Batch) (ptrace.Traces, int, error) {
	td, err := jaegertranslator.ThriftToTraces(batch)
	if err != nil {
		return td, 0, &dropError{malformed, err}
	}
	return td, len(batch.GetSpans()), nil
}

// catch turns a panic into an error.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = &dropError{panicked, fmt.Errorf("decode: panic: %v\n%s", p, debug.Stack())}
	}
}

// agentCall is the Agent that keeps the batch it is called with.
type agentCall struct {
	batch *jaeger.Batch
}

// EmitBatch is the call of Jaeger's clients.
func (a *agentCall) EmitBatch(_ context.Context, b *jaeger.Batch) error {
	a.batch = b
	return nil
}

// EmitZipkinBatch refuses.
func (*agentCall) EmitZipkinBatch(context.Context, []*zipkincore.Span) error {
	return errZipkin
}
