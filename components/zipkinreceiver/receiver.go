package zipkinreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

// zipkinReceiver takes spans by POST, in Zipkin's v2 and v1 forms.
type zipkinReceiver struct {
	config    Config
	settings  receiver.Settings
	next      consumer.Traces
	encodings *encodings
	obsrecv   map[string]*receiverhelper.ObsReport // by transport

	serving *keptport.Serving // nil before start
}

func newZipkinReceiver(set receiver.Settings, cfg *Config, next consumer.Traces) (*zipkinReceiver, error) {
	r := &zipkinReceiver{
		config: *cfg, settings: set, next: next, encodings: newEncodings(cfg.ParseStringTags), obsrecv: map[string]*receiverhelper.ObsReport{},
	}
	e := r.encodings
	for _, transport := range []string{e.v1JSON.transport, e.v1Thrift.transport, e.v2JSON.transport, e.v2Proto.transport} {
		o, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
			ReceiverID: set.ID, Transport: transport, ReceiverCreateSettings: set,
		})
		if err != nil {
			return nil, err
		}
		r.obsrecv[transport] = o
	}
	return r, nil
}

// Start listens and serves.
func (r *zipkinReceiver) Start(ctx context.Context, host component.Host) error {
	if err := zipkinv2.ValidateFeatureGates(); err != nil {
		return err
	}
	server, err := r.config.ServerConfig.ToServer(ctx, host.GetExtensions(), r.settings.TelemetrySettings, http.HandlerFunc(r.post))
	if err != nil {
		return err
	}
	r.serving, err = keptport.ServeHTTP(ctx, keptport.HTTP{
		Owner: "receiver " + r.settings.ID.String(), Config: &r.config.ServerConfig, Server: server,
		Refuse: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerLater(w, keptport.ErrReloading) }),
		Failed: func(err error) { componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err)) },
	})
	if err != nil {
		return fmt.Errorf("listen for Zipkin on %q: %w", r.config.ServerConfig.NetAddr.Endpoint, err)
	}
	r.settings.Logger.Info("Listening for Zipkin clients", zap.Stringer("endpoint", r.serving.Addr()))
	return nil
}

// Shutdown answers the requests that have begun; the port stays for the receiver after a reload. It does nothing before
// Start and the second time.
func (r *zipkinReceiver) Shutdown(ctx context.Context) error {
	if r.serving == nil {
		return nil
	}
	serving := r.serving
	r.serving = nil
	return serving.Stop(ctx)
}

// post stores spans: 202 when the pipeline has them, 4xx when it never will, 503 when it may later.
func (r *zipkinReceiver) post(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "spans are sent here by POST to /api/v2/spans; Zipkin's pages and its API for queries are not served", http.StatusMethodNotAllowed)
		return
	}
	e := r.encodings.of(req)
	obsrecv := r.obsrecv[e.transport]
	ctx := obsrecv.StartTracesOp(req.Context())
	spans, code, err := r.take(ctx, e, req)
	obsrecv.EndTracesOp(ctx, e.format, spans, err)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusAccepted) // https://zipkin.io/zipkin-api/#/default/post_spans
	case code == http.StatusServiceUnavailable:
		answerLater(w, err)
	default:
		http.Error(w, err.Error(), code)
	}
}

func answerLater(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// take reads, decodes and passes on. code is the status for err.
func (r *zipkinReceiver) take(ctx context.Context, e *encoding, req *http.Request) (spans, code int, err error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return 0, http.StatusRequestEntityTooLarge, fmt.Errorf("the request is larger than max_request_body_size (%d bytes)", tooLarge.Limit)
		}
		if cause := context.Cause(ctx); errors.Is(cause, keptport.ErrReloading) {
			return 0, http.StatusServiceUnavailable, cause
		}
		return 0, http.StatusBadRequest, fmt.Errorf("read the spans: %w", err)
	}
	if len(body) == 0 {
		return 0, http.StatusBadRequest, errors.New("the body is empty: spans are sent as a list, an empty one is []")
	}
	td, err := e.spans(body)
	if err != nil {
		if errors.Is(err, errPanicked) {
			r.settings.Logger.Error("Refused spans", zap.Error(err))
			err = errPanicked
		}
		return 0, http.StatusBadRequest, fmt.Errorf("decode the spans (%s): %w", e.transport, err)
	}
	if spans = td.SpanCount(); spans == 0 {
		return 0, 0, nil
	}
	if err := r.next.ConsumeTraces(ctx, td); err != nil {
		code := http.StatusServiceUnavailable
		if consumererror.IsPermanent(err) {
			code = http.StatusBadRequest
		}
		return spans, code, fmt.Errorf("store the spans: %w", err)
	}
	return spans, 0, nil
}
