package tracestoreexporter

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
)

// storeExporter hands batches to the store. It is safe for concurrent use after start.
type storeExporter struct {
	cfg    *Config
	logger *zap.Logger
	store  store.Appender
	// rows recycles the memory of requests, as *requestRows.
	rows sync.Pool
}

// requestRows is one request as flat rows, with the memory they live in.
type requestRows struct {
	batch store.Batch
	arena otlpspan.Arena
}

func (r *requestRows) reset() {
	r.batch.Reset()
	r.arena.Reset()
}

func (e *storeExporter) start(_ context.Context, host component.Host) error {
	s, err := exthost.Find[store.Appender](host, e.cfg.Store)
	if err != nil {
		return err
	}
	e.store = s
	if e.cfg.QueueConfig.HasValue() {
		e.logger.Warn("sending_queue is on: clients are answered before their spans are stored, and spans that are still queued are lost when the process is killed",
			zap.Stringer("store", e.cfg.Store))
	}
	return nil
}

// consumeTraces stores td. Errors that sending again cannot mend are permanent and carry InvalidArgument (HTTP 400);
// all others are plain errors, which receivers answer with Unavailable (HTTP 503), so that SDKs resend.
func (e *storeExporter) consumeTraces(ctx context.Context, td ptrace.Traces) error {
	rows, _ := e.rows.Get().(*requestRows)
	if rows == nil {
		rows = &requestRows{}
	}
	defer func() {
		rows.reset()
		e.rows.Put(rows)
	}()
	if err := rows.arena.Flatten(td, &rows.batch); err != nil {
		return permanent(err)
	}
	if len(rows.batch.Spans) == 0 {
		return nil
	}
	err := e.store.Append(ctx, &rows.batch)
	switch {
	case err == nil:
		return nil
	case store.Retryable(err):
		return fmt.Errorf("store %d spans (send them again): %w", len(rows.batch.Spans), err)
	default:
		return permanent(err)
	}
}

// permanent marks err as one that the client should not retry and gives it the status that says so.
func permanent(err error) error {
	return consumererror.NewPermanent(status.Error(codes.InvalidArgument, err.Error()))
}
