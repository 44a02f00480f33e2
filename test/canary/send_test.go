package canary

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // The compressor.
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// encodings are all ways in which OTLP comes.
var encodings = []struct {
	name string
	send func(ctx context.Context, b *harness.Bramble, c coltracepb.TraceServiceClient, req *coltracepb.ExportTraceServiceRequest) error
}{
	{"gRPC", grpcSender()},
	{"gRPC with gzip", grpcSender(grpc.UseCompressor("gzip"))},
	{"HTTP protobuf", httpSender("application/x-protobuf", false)},
	{"HTTP protobuf with gzip", httpSender("application/x-protobuf", true)},
	{"HTTP JSON", httpSender("application/json", false)},
	{"HTTP JSON with gzip", httpSender("application/json", true)},
}

type sender = func(ctx context.Context, b *harness.Bramble, c coltracepb.TraceServiceClient, req *coltracepb.ExportTraceServiceRequest) error

func grpcSender(opts ...grpc.CallOption) sender {
	return func(ctx context.Context, _ *harness.Bramble, c coltracepb.TraceServiceClient, req *coltracepb.ExportTraceServiceRequest) error {
		res, err := c.Export(ctx, req, opts...)
		if err == nil && res.GetPartialSuccess().GetRejectedSpans() > 0 {
			err = fmt.Errorf("rejected: %s", res.GetPartialSuccess().GetErrorMessage())
		}
		return err
	}
}

func httpSender(contentType string, zip bool) sender {
	return func(ctx context.Context, b *harness.Bramble, _ coltracepb.TraceServiceClient, req *coltracepb.ExportTraceServiceRequest) error {
		body, err := encode(contentType, req)
		if err != nil {
			return err
		}
		return post(ctx, b, contentType, body, zip)
	}
}

func encode(contentType string, req *coltracepb.ExportTraceServiceRequest) ([]byte, error) {
	body, err := proto.Marshal(req)
	if err != nil || contentType != "application/json" {
		return body, err
	}
	// OTLP's JSON is not protobuf's: ids are hexadecimal.
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		return nil, err
	}
	return (&ptrace.JSONMarshaler{}).MarshalTraces(td)
}

func post(ctx context.Context, b *harness.Bramble, contentType string, body []byte, zip bool) error {
	if zip {
		var buf bytes.Buffer
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(body); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		body = buf.Bytes()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.TracesURL(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", contentType)
	if zip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body) // For the message only.
		return &refusedError{permanent: res.StatusCode == http.StatusBadRequest, text: fmt.Sprintf("POST %s: %s: %.300s", b.TracesURL(), res.Status, text)}
	}
	return nil
}

// refusedError is an answer over HTTP that is not 200.
type refusedError struct {
	permanent bool
	text      string
}

func (e *refusedError) Error() string { return e.text }

// permanent reports whether sending again has no point.
func permanent(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.permanent || status.Code(err) == codes.InvalidArgument || status.Code(err) == codes.Internal
}

// load sends requests until each is acknowledged, whatever happens to the process in between. It goes on as far as it
// is allowed to, so that there is time to look at what is in progress.
type load struct {
	total   int
	acked   atomic.Int64
	allowed atomic.Int64
	wg      sync.WaitGroup

	failed, lastError atomic.Pointer[error]
}

type message struct {
	send sender
	req  *coltracepb.ExportTraceServiceRequest
}

const (
	senders     = 3
	sendTimeout = 10 * time.Second
	retryEvery  = 100 * time.Millisecond
)

func startLoad(t *testing.T, b *harness.Bramble, messages []message) *load {
	t.Helper()
	l := &load{total: len(messages)}
	client := coltracepb.NewTraceServiceClient(harness.Dial(t, "passthrough:///"+b.GRPC()))
	queue := make(chan message, len(messages))
	for _, m := range messages {
		queue <- m
	}
	close(queue)
	for range senders {
		l.wg.Go(func() {
			for m := range queue {
				for l.acked.Load() >= l.allowed.Load() && t.Context().Err() == nil {
					select {
					case <-t.Context().Done():
					case <-time.After(time.Millisecond):
					}
				}
				for t.Context().Err() == nil {
					ctx, cancel := context.WithTimeout(t.Context(), sendTimeout)
					err := m.send(ctx, b, client, m.req)
					cancel()
					if err == nil {
						l.acked.Add(1)
						break
					}
					if permanent(err) {
						l.failed.Store(&err)
						return
					}
					l.lastError.Store(&err)
					select { // The process is down, or has no memory for it.
					case <-t.Context().Done():
					case <-time.After(retryEvery):
					}
				}
			}
		})
	}
	t.Cleanup(l.wg.Wait)
	return l
}

// until lets a share of the requests pass, and calls observe again and again until they are acknowledged.
func (l *load) until(t *testing.T, share float64, observe func()) {
	t.Helper()
	l.allowed.Store(int64(share * float64(l.total)))
	l.wait(t, share, observe)
}

// killed lets all requests pass and kills the process while they do.
func (l *load) killed(t *testing.T, b *harness.Bramble) {
	t.Helper()
	before := float64(l.acked.Load()) / float64(l.total)
	l.allowed.Store(int64(l.total))
	l.wait(t, min(before+0.2, 1), func() {})
	b.Kill()
}

func (l *load) wait(t *testing.T, share float64, observe func()) {
	t.Helper()
	harness.Poll(t, 3*time.Minute, "acknowledgements", func() error {
		done := l.acked.Load() >= int64(share*float64(l.total))
		observe()
		if !done {
			if err := l.failed.Load(); err != nil {
				t.Fatalf("a request was refused for good: %v", *err)
			}
			err := errors.New("none")
			if p := l.lastError.Load(); p != nil {
				err = *p
			}
			return fmt.Errorf("%d of %d requests were acknowledged, last error: %w", l.acked.Load(), l.total, err)
		}
		return nil
	})
}

// fill sends ordinary spans.
func fill(t *testing.T, b *harness.Bramble, g *testkit.Generator, spans int) {
	t.Helper()
	g.SetTime(time.Now())
	body, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(g.Traces(spans))
	require.NoError(t, err)
	harness.Poll(t, time.Minute, "the acknowledgement of other spans", func() error {
		return post(t.Context(), b, "application/x-protobuf", body, true)
	})
	assert.True(t, b.Running(), "%s", b.Log.Tail(20))
}
