package tracequeryextension

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/query"
)

// maxLoggedQuery bounds how much of a query's text is logged.
const maxLoggedQuery = 2 << 10

// logSlow writes one line about a query that took longer than the limit: what was expected and what came of it.
func logSlow(log *zap.Logger, limit time.Duration, d query.Done) {
	if limit <= 0 || d.Wait+d.Took < limit {
		return
	}
	text := d.Query
	if len(text) > maxLoggedQuery {
		text = text[:maxLoggedQuery] + "…"
	}
	fields := []zap.Field{
		zap.String("kind", d.Kind), zap.String("query", text), zap.Duration("wait", d.Wait), zap.Duration("took", d.Took),
		zap.Int64("estimated_spans", d.Estimate.Spans), zap.Int64("estimated_bytes", d.Estimate.Bytes), zap.Uint64("inspected_spans", d.Stats.Spans),
		zap.Uint64("inspected_traces", d.Stats.Traces), zap.Uint64("inspected_bytes", d.Stats.Bytes),
	}
	if d.EndNano > 0 {
		fields = append(fields, zap.Duration("range", time.Duration(d.EndNano-d.StartNano)))
	}
	log.Warn("slow query", append(fields, zap.Error(d.Err))...)
}

// logDelete writes down who deleted what.
func logDelete(log *zap.Logger, d query.Done) {
	if d.Kind == "delete" && (d.Stats.Spans > 0 || d.Err != nil) {
		log.Info("trace deleted", zap.String("trace_id", d.Query), zap.Uint64("spans", d.Stats.Spans), zap.String("client", strings.ReplaceAll(d.Client, "\x00", " ")), zap.Error(d.Err))
	}
}
