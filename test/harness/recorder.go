package harness

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// HTTPRecorder starts a proxy for OTLP over HTTP in front of target (host:port) and returns its host:port. It passes
// requests and answers on unchanged, and notes the spans of those that were answered with 200. When target cannot be
// reached it answers 503, which clients retry.
func HTTPRecorder(tb testing.TB, target string, acks *Acks) string {
	tb.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var header []string
		for _, name := range []string{"Content-Type", "Content-Encoding"} {
			if v := r.Header.Get(name); v != "" {
				header = append(header, name, v)
			}
		}
		res, err := do(r.Context(), http.DefaultClient, r.Method, "http://"+target+r.URL.Path, bytes.NewReader(body), header...)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if res.Status == http.StatusOK {
			if err := noteRequest(body, r.Header.Get("Content-Encoding"), acks); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.Status)
		_, _ = w.Write(res.Body) // The client may be gone.
	}))
	tb.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// noteRequest notes the spans of a protobuf request.
func noteRequest(body []byte, encoding string, acks *Acks) error {
	if encoding == "gzip" {
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(zr); err != nil {
			return err
		}
	}
	req := &coltracepb.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(body, req); err != nil {
		return err
	}
	acks.AddAll(req.GetResourceSpans())
	return nil
}

// grpcRecorder passes requests on and notes those that succeeded.
type grpcRecorder struct {
	coltracepb.UnimplementedTraceServiceServer
	target coltracepb.TraceServiceClient
	acks   *Acks
}

func (r *grpcRecorder) Export(ctx context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	res, err := r.target.Export(ctx, req)
	if err == nil {
		r.acks.AddAll(req.GetResourceSpans())
	}
	return res, err
}

// GRPCRecorder is HTTPRecorder for OTLP over gRPC. Errors are passed on with their status and details.
func GRPCRecorder(tb testing.TB, target string, acks *Acks) string {
	tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	srv := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(srv, &grpcRecorder{target: coltracepb.NewTraceServiceClient(Dial(tb, target)), acks: acks})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	tb.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			tb.Errorf("serve the gRPC recorder: %v", err)
		}
	})
	return lis.Addr().String()
}

// Dial opens a plain-text gRPC connection that the test's cleanup closes.
func Dial(tb testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() }) // Fails only when it is closed already.
	return conn
}
