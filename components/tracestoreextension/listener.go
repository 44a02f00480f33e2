package tracestoreextension

import (
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// newListener turns the store's events into log lines. The store outlives the extension that opened it across a
// reload; the logger does, too.
func newListener(logger *zap.Logger) *tracedb.Listener {
	return &tracedb.Listener{
		HeadCut: func(e tracedb.HeadCut) {
			logger.Debug("Head was frozen", zap.String("head", e.ID), zap.String("reason", string(e.Reason)),
				zap.Int("spans", e.Spans), zap.Int("traces", e.Traces), zap.Int64("bytes", e.Bytes))
		},
		HeadDropped: func(e tracedb.HeadDropped) {
			logger.Warn("The oldest spans were dropped to make room", zap.String("head", e.ID),
				zap.String("reason", string(e.Reason)), zap.Int("spans", e.Spans), zap.Int64("bytes", e.Bytes))
		},
		BlockWritten: func(e tracedb.BlockWritten) {
			logger.Info("Block was written", zap.String("block", e.ID), zap.String("from", e.From), zap.Int("level", e.Level),
				zap.Int("spans", e.Spans), zap.Int("traces", e.Traces), zap.Int64("bytes", e.Bytes), zap.Duration("took", e.Duration),
				zap.Int("merged_blocks", e.Blocks), zap.Int("copied_spans", e.Copied))
		},
		BlockDropped: func(e tracedb.BlockDropped) {
			logger.Info("Block left the store", zap.String("block", e.ID), zap.String("reason", string(e.Reason)),
				zap.Int("spans", e.Spans), zap.Int64("bytes", e.Bytes))
		},
		BlockQuarantined: func(e tracedb.BlockQuarantined) {
			logger.Error("Block is damaged and was moved away; its spans are missing in answers", zap.String("block", e.ID),
				zap.String("path", e.Path), zap.Error(e.Err))
		},
		BlockRepaired: func(e tracedb.BlockRepaired) {
			logger.Warn("Block was damaged and is repaired; nothing is lost, but the disk may be failing", zap.String("block", e.ID),
				zap.String("as", e.As), zap.Error(e.Err))
		},
		Scrubbed: func(e tracedb.Scrubbed) {
			logger.Info("All blocks were verified", zap.Int("blocks", e.Blocks), zap.Int64("bytes", e.Bytes),
				zap.Int("damaged", e.Damaged), zap.Duration("took", e.Duration))
		},
		QuarantineDropped: func(e tracedb.QuarantineDropped) {
			logger.Warn("Quarantined block was removed for good", zap.String("block", e.ID),
				zap.String("reason", string(e.Reason)), zap.Int64("bytes", e.Bytes))
		},
		FlushFailed: func(e tracedb.FlushFailed) {
			logger.Error("A block could not be written; its spans stay in memory and in the log until it can",
				zap.Error(e.Err), zap.Duration("retry_in", e.Retry))
		},
		Decided: func(e tracedb.Decided) {
			logger.Info("It was decided which traces outlive the recent window", zap.Int("blocks", e.Blocks), zap.Int("traces", e.Traces),
				zap.Int("kept", e.Kept), zap.Duration("took", e.Duration))
		},
		CompactionFailed: func(e tracedb.FlushFailed) {
			logger.Error("Blocks could not be merged; they stay as they are until they can", zap.Error(e.Err), zap.Duration("retry_in", e.Retry))
		},
		Replayed: func(e tracedb.Replayed) {
			level := zap.InfoLevel
			if e.Damaged > 0 || e.Lost > 0 {
				level = zap.ErrorLevel
			}
			logger.Log(level, "Write-ahead log was replayed", zap.Uint64("spans", e.Spans), zap.Uint64("records", e.Records),
				zap.Int64("bytes", e.Bytes), zap.Duration("took", e.Duration), zap.Int64("torn_bytes", e.TornBytes),
				zap.Int("damaged_places", e.Damaged), zap.Uint64("lost_records", e.Lost))
		},
		Corrupt: func(e *store.CorruptionError) {
			logger.Error("Data on disk is damaged and was skipped", zap.String("path", e.Path), zap.Int64("offset", e.Offset), zap.Error(e.Err))
		},
		Full: func(reason string) {
			logger.Error("The store refuses spans until there is room", zap.String("reason", reason))
		},
		Recovered: func() { logger.Info("The store accepts spans again") },
		TraceDeleted: func(spans int) {
			logger.Info("A trace was deleted on request", zap.Int("spans", spans))
		},
		Error: func(err error) { logger.Error("The store had trouble and goes on", zap.Error(err)) },
	}
}
