package jaegerreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

// httpServer takes batches in Thrift's binary protocol by POST /api/traces, as Jaeger's collector does on port 14268.
type httpServer struct {
	config   confighttp.ServerConfig
	settings receiver.Settings
	next     consumer.Traces
	obsrecv  *receiverhelper.ObsReport

	serving *keptport.Serving // nil before start
}

func newHTTPServer(set receiver.Settings, cfg confighttp.ServerConfig, next consumer.Traces) (*httpServer, error) {
	obsrecv, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "collector_http", ReceiverCreateSettings: set,
	})
	return &httpServer{config: cfg, settings: set, next: next, obsrecv: obsrecv}, err
}

func (s *httpServer) start(ctx context.Context, host component.Host) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+batchPath, s.post)
	mux.HandleFunc("/", elsewhere)
	server, err := s.config.ToServer(ctx, host.GetExtensions(), s.settings.TelemetrySettings, mux)
	if err != nil {
		return fmt.Errorf("protocols::thrift_http: %w", err)
	}
	s.serving, err = keptport.ServeHTTP(ctx, keptport.HTTP{
		Owner: "receiver " + s.settings.ID.String(), Config: &s.config, Server: server,
		Refuse: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, keptport.ErrReloading.Error(), http.StatusServiceUnavailable)
		}),
		Failed: func(err error) { componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err)) },
	})
	if err != nil {
		return fmt.Errorf("listen for Jaeger's Thrift over HTTP on %q: %w", s.config.NetAddr.Endpoint, err)
	}
	s.settings.Logger.Info("Listening for Jaeger's Thrift over HTTP", zap.Stringer("endpoint", s.serving.Addr()))
	return nil
}

// stop answers the requests that have begun and returns; the port and its connections stay for the receiver after a
// reload. It does nothing before start and the second time.
func (s *httpServer) stop(ctx context.Context) error {
	if s.serving == nil {
		return nil
	}
	serving := s.serving
	s.serving = nil
	return serving.Stop(ctx)
}

// batchPath is where Jaeger's clients send to.
const batchPath = "/api/traces"

// elsewhere answers what is not for post.
func elsewhere(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == batchPath {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "spans are sent here by POST, in Thrift; the port of the query API (16686) answers for traces", http.StatusMethodNotAllowed)
		return
	}
	http.Error(w, "spans are sent by POST "+batchPath+", in Thrift; the port of the query API (16686) answers for traces", http.StatusNotFound)
}

// post stores a batch: 202 when the pipeline has it, 4xx when it never will, 503 when it may later.
func (s *httpServer) post(w http.ResponseWriter, r *http.Request) {
	ctx := s.obsrecv.StartTracesOp(r.Context())
	spans, status, err := s.take(ctx, r)
	s.obsrecv.EndTracesOp(ctx, "thrift", spans, err)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *httpServer) take(ctx context.Context, r *http.Request) (spans, status int, err error) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/x-thrift" && contentType != "application/vnd.apache.thrift.binary" {
		return 0, http.StatusBadRequest, fmt.Errorf("the content type must be application/x-thrift or application/vnd.apache.thrift.binary, is %.100q", r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return 0, http.StatusRequestEntityTooLarge, fmt.Errorf("the batch is larger than max_request_body_size (%d bytes)", tooLarge.Limit)
		}
		if cause := context.Cause(ctx); errors.Is(cause, keptport.ErrReloading) {
			return 0, http.StatusServiceUnavailable, cause
		}
		return 0, http.StatusBadRequest, fmt.Errorf("read the batch: %w", err)
	}
	td, spans, err := decodeBatch(ctx, body)
	if err != nil {
		if d, ok := errors.AsType[*dropError](err); ok && d.reason == panicked {
			s.settings.Logger.Error("Refused a batch", zap.String("reason", string(panicked)), zap.Error(err))
			err = errors.New("the batch cannot be decoded")
		}
		return 0, http.StatusBadRequest, fmt.Errorf("decode the batch: %w", err)
	}
	if spans == 0 {
		return 0, 0, nil
	}
	if err := s.next.ConsumeTraces(ctx, td); err != nil {
		status := http.StatusServiceUnavailable
		if consumererror.IsPermanent(err) {
			status = http.StatusBadRequest
		}
		return spans, status, fmt.Errorf("store the batch: %w", err)
	}
	return spans, 0, nil
}
