// Package load makes the reference workload as encoded OTLP requests and sends it.
package load

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// Request is one encoded ExportTraceServiceRequest.
type Request struct {
	Body  []byte
	Spans int
	// Trace is one of the traces that the request holds whole.
	Trace spanid.TraceID
}

// Each makes requests of whole traces, about batch spans each, that end about now, and calls f with one after the other.
// see, if not nil, is shown each batch, so that the caller can know the truth about what it sends.
func Each(spans, batch int, see func(*store.Batch), f func(Request) error) error {
	gen := testkit.NewGenerator(1)
	// 50 traces a second of about 25 spans each, counted a little short: the run ends about now, and not later.
	gen.SetTime(time.Now().Add(-time.Duration(float64(spans) / 24.5 / 50 * float64(time.Second))))
	for total := 0; total < spans; {
		b := gen.Batch(batch)
		if see != nil {
			see(b)
		}
		body, err := otlpspan.AppendProto(nil, b)
		if err != nil {
			return err
		}
		if err := f(Request{Body: body, Spans: len(b.Spans), Trace: b.Spans[len(b.Spans)-1].TraceID}); err != nil {
			return err
		}
		total += len(b.Spans)
	}
	return nil
}

// Encode collects the requests of Each.
func Encode(spans, batch int, see func(*store.Batch)) ([]Request, error) {
	var out []Request
	err := Each(spans, batch, see, func(r Request) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}
func (rawCodec) Name() string { return "proto" }

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// Dial connects to an OTLP/gRPC endpoint for Export.
func Dial(endpoint string) (*grpc.ClientConn, error) {
	return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}))) //nolint:staticcheck // The v2 codec needs buffers.
}

// DialPlain connects for messages of any service.
func DialPlain(endpoint string) (*grpc.ClientConn, error) {
	return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Export sends one request and, like an SDK, sends it again while the server asks for patience.
func Export(conn *grpc.ClientConn, body []byte) error {
	var reply []byte
	var err error
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err = conn.Invoke(ctx, exportMethod, body, &reply)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("export: %w", err)
}
