package tracestoreextension

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/components/tracestoreextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// storeExtension is the store to other components: it implements store.Store and store.Notifier between Start and
// Shutdown, and refuses with store.ErrClosed outside.
type storeExtension struct {
	cfg      *Config
	logger   *zap.Logger
	settings component.TelemetrySettings

	db        *tracedb.DB
	release   func() error
	telemetry *metadata.TelemetryBuilder
	deciders  atomic.Int32
	id        string
	checks    *selfcheck.Source
}

var (
	_ extension.Extension = (*storeExtension)(nil)
	_ store.Store         = (*storeExtension)(nil)
	_ store.Notifier      = (*storeExtension)(nil)
	_ store.Retainer      = (*storeExtension)(nil)
	_ store.Deciding      = (*storeExtension)(nil)
)

func newStoreExtension(set extension.Settings, cfg *Config) *storeExtension {
	return &storeExtension{cfg: cfg, id: set.ID.String(), logger: set.Logger, settings: set.TelemetrySettings}
}

// Start opens the store, or takes over the one that a previous configuration of this process has open.
func (e *storeExtension) Start(ctx context.Context, _ component.Host) error {
	dir, err := filepath.Abs(e.cfg.Directory)
	if err != nil {
		return fmt.Errorf("directory %q: %w", e.cfg.Directory, err)
	}
	memory, err := e.cfg.Memory.memoryBytes()
	if err != nil {
		return err
	}
	fingerprint := fmt.Sprintf("%+v %d", *e.cfg, memory)
	value, release, err := procstate.Default.Acquire("trace_store "+dir, fingerprint, func() (procstate.Opened, error) {
		db, err := tracedb.Open(ctx, e.options(dir, memory))
		if err != nil {
			return procstate.Opened{}, fmt.Errorf("open trace store in %s: %w", dir, err)
		}
		return procstate.Opened{Value: db, Close: func() error { return db.Close(context.Background()) }}, nil
	})
	if err != nil {
		return err
	}
	e.db, e.release = value.(*tracedb.DB), release
	e.logger.Info("Trace store is open", zap.String("directory", dir), zap.Int64("memory_bytes", memory),
		zap.String("wal_sync", e.cfg.WAL.Sync), zap.Int("spans", e.db.Stats().Spans))
	if err := errors.Join(e.registerMetrics(e.db.Stats), e.tellVolume(dir)); err != nil {
		return errors.Join(err, e.Shutdown(ctx))
	}
	return nil
}

func (c *ScrubConfig) options() tracedb.ScrubOptions {
	if !c.Enabled {
		return tracedb.ScrubOptions{Interval: -1}
	}
	return tracedb.ScrubOptions{Interval: c.Interval, BytesPerSecond: c.RateMiB * mib}
}

func (e *storeExtension) options(dir string, memory int64) tracedb.Options {
	return tracedb.Options{
		Dir:         dir,
		WAL:         tracedb.WALOptions{Sync: tracedb.SyncMode(e.cfg.WAL.Sync), SyncInterval: e.cfg.WAL.SyncInterval},
		MemoryBytes: memory,
		Scrub:       e.cfg.Scrub.options(),
		Compaction: tracedb.CompactionOptions{
			Off:           !e.cfg.Compaction.Enabled,
			MinBlocks:     e.cfg.Compaction.MinBlocks,
			MaxBlockBytes: e.cfg.Compaction.MaxBlockSizeMiB * mib,
			CPUPercentage: e.cfg.Compaction.CPULimitPercentage,
		},
		Cut: tracedb.CutOptions{Age: cutAge(e.cfg.Retention.Recent)},
		Retention: tracedb.Retention{
			Recent:            e.cfg.Retention.Recent,
			PinMaxBytes:       e.cfg.Retention.PinMaxMiB * mib,
			MaxAge:            e.cfg.Retention.MaxAge,
			MaxSizeBytes:      e.cfg.Retention.MaxSizeMiB * mib,
			MinFreePercentage: float64(e.cfg.Retention.MinFreePercentage),
		},
		Listener: newListener(e.logger),
	}
}

// cutAge is when a head becomes a block. Only blocks leave the recent window, so a short window needs short-lived heads.
func cutAge(recent time.Duration) time.Duration {
	if recent <= 0 {
		return tracedb.DefaultCutAge
	}
	return min(tracedb.DefaultCutAge, max(time.Second, recent/4))
}

// Shutdown gives the store back. Whether it is closed now or kept for a successor is procstate's decision.
func (e *storeExtension) Shutdown(context.Context) error {
	if e.telemetry != nil {
		e.telemetry.Shutdown()
	}
	left := e.checks.Leave()
	if e.release == nil {
		return left
	}
	return errors.Join(left, e.release())
}

// Append implements store.Appender.
func (e *storeExtension) Append(ctx context.Context, b *store.Batch) error {
	if e.db == nil {
		return store.ErrClosed
	}
	return e.db.Append(ctx, b)
}

// View implements store.Viewer.
func (e *storeExtension) View() (store.View, error) {
	if e.db == nil {
		return nil, store.ErrClosed
	}
	return e.db.View()
}

// DeleteTrace hides the spans of a trace at once, and returns how many there were.
func (e *storeExtension) DeleteTrace(ctx context.Context, id spanid.TraceID) (int, error) {
	if e.db == nil {
		return 0, store.ErrClosed
	}
	return e.db.DeleteTrace(ctx, id)
}

// retainer is the store's retention.
func (e *storeExtension) retainer() (store.Retainer, error) {
	if e.db == nil {
		return nil, store.ErrClosed
	}
	return e.db, nil
}

// SetDecider implements store.Retainer.
func (e *storeExtension) SetDecider(d store.Decider) (cancel func(), err error) {
	r, err := e.retainer()
	if err != nil {
		return nil, err
	}
	end, err := r.SetDecider(d)
	if err != nil {
		return nil, err
	}
	e.deciders.Add(1)
	var once sync.Once
	return func() {
		end()
		once.Do(func() { e.deciders.Add(-1) })
	}, nil
}

// Deciding implements store.Deciding.
func (e *storeExtension) Deciding() bool { return e.deciders.Load() > 0 }

// Decision implements store.Retainer.
func (e *storeExtension) Decision(ctx context.Context, id spanid.TraceID) (d store.Decision, ok bool, err error) {
	r, err := e.retainer()
	if err != nil {
		return store.Decision{}, false, err
	}
	return r.Decision(ctx, id)
}

// Pin implements store.Retainer.
func (e *storeExtension) Pin(ctx context.Context, traces []spanid.TraceID) error {
	r, err := e.retainer()
	if err != nil {
		return err
	}
	return r.Pin(ctx, traces)
}

// Observe implements store.Notifier. Before Start there is nothing to observe.
func (e *storeExtension) Observe(o store.Observer) (cancel func()) {
	if e.db == nil {
		return func() {}
	}
	return e.db.Observe(o)
}
