package tracedb

import (
	"errors"
	"fmt"
	"time"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/wal"
)

// SyncMode says how durable a span is when Append returns.
type SyncMode string

// The sync modes.
const (
	// SyncInterval: written; a power cut loses at most the last WAL.SyncInterval, a killed process nothing.
	SyncInterval SyncMode = "interval"
	// SyncAlways: on the disk.
	SyncAlways SyncMode = "always"
	// SyncOff: written; synced only when a segment is full and by Close.
	SyncOff SyncMode = "off"
)

// Defaults of Options.
const (
	DefaultMemoryBytes  = 512 << 20
	DefaultCutBytes     = 64 << 20
	DefaultCutSpans     = 300_000
	DefaultCutAge       = 5 * time.Minute
	DefaultMaxFrozen    = 2
	DefaultPurgeAfter   = time.Minute
	DefaultMaintenance  = time.Second
	DefaultSyncInterval = wal.DefaultSyncInterval
	DefaultScrub        = 7 * 24 * time.Hour
	DefaultScrubRate    = 8 << 20
	DefaultPinMaxBytes  = 512 << 20
	minMemoryBytes      = 1 << 20
)

// Options configures a DB. Dir is required; every zero value means the default that its comment names.
type Options struct {
	// Dir is the data directory. It is created if it does not exist.
	Dir string
	WAL WALOptions
	// MemoryBytes is the memory that the store may use (512 MiB). Half of it is for heads at most, a fifth for what was
	// decoded from blocks, a fifth for writing heads as blocks, and a sixth at most, of what heads leave, for merging.
	MemoryBytes int64
	Cut         CutOptions
	Compaction  CompactionOptions
	Retention   Retention
	// MaxColumns bounds the attribute columns of a head (1024); further attributes are kept, but found more slowly.
	MaxColumns int
	// PurgeAfter is the time between the deletion of a trace and the rewrite that removes its bytes from blocks (1 min),
	// so that several deletions need one rewrite.
	PurgeAfter time.Duration
	Scrub      ScrubOptions
	// MaintenanceInterval is the time between looks at age, size and free disk (1 s).
	MaintenanceInterval time.Duration

	// FS is the file system (the operating system's).
	FS fsx.FS
	// Clock returns the present time (time.Now).
	Clock func() time.Time
	// Listener is told what happens. May be nil.
	Listener *Listener
}

// WALOptions configures the write-ahead log.
type WALOptions struct {
	// Sync is SyncInterval by default.
	Sync SyncMode
	// SyncInterval is the longest time that a written span waits for the disk (100 ms); for Sync interval.
	SyncInterval time.Duration
	// SegmentBytes is the size of segment files and the bound of a compressed batch (64 MiB).
	SegmentBytes int64
}

// CutOptions says when the live head is frozen: at whichever comes first.
type CutOptions struct {
	// Bytes of memory (64 MiB, and never more than a third of the memory for heads).
	Bytes int64
	// Spans (300,000).
	Spans int
	// Age since the first span (5 minutes).
	Age time.Duration
	// MaxFrozen is how many frozen heads may wait to be written as blocks (2). With more to come, Append waits.
	MaxFrozen int
}

// Retention says when spans go. The oldest go first.
type Retention struct {
	// Recent is the window in which nothing is sampled away. A block leaves it when its newest span is older; then it is
	// decided, once and about whole traces, which of its traces are kept. See store.Retainer.
	Recent time.Duration
	// PinMaxBytes bounds what pinned traces may take on disk, about (512 MiB).
	PinMaxBytes int64
	// MaxAge is the age of a part's newest span at which the part is dropped; 0 means never.
	MaxAge time.Duration
	// MaxSizeBytes bounds the bytes on disk; 0 means no bound.
	MaxSizeBytes int64
	// MinFreePercentage is the share of the disk that stays free: below it the oldest parts are dropped, and when
	// there are none left Append refuses. 0 means no bound, at most 99.
	MinFreePercentage float64
}

// ScrubOptions says how the files of blocks are verified in the background.
type ScrubOptions struct {
	// Interval is the time in which each block is verified once (7 days). Negative: never.
	Interval time.Duration
	// BytesPerSecond bounds how fast it reads (8 MiB/s).
	BytesPerSecond int64
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("no directory: set Dir to where the spans are to be kept")
	}
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.MemoryBytes, DefaultMemoryBytes)
	def(&o.Cut.Bytes, DefaultCutBytes)
	def((*int64)(&o.Cut.Age), int64(DefaultCutAge))
	def((*int64)(&o.MaintenanceInterval), int64(DefaultMaintenance))
	def(&o.Retention.PinMaxBytes, DefaultPinMaxBytes)
	def((*int64)(&o.PurgeAfter), int64(DefaultPurgeAfter))
	def((*int64)(&o.Scrub.Interval), int64(DefaultScrub))
	def(&o.Scrub.BytesPerSecond, DefaultScrubRate)
	if o.Cut.MaxFrozen == 0 {
		o.Cut.MaxFrozen = DefaultMaxFrozen
	}
	if o.Cut.Spans == 0 {
		o.Cut.Spans = DefaultCutSpans
	}
	if o.WAL.Sync == "" {
		o.WAL.Sync = SyncInterval
	}
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Listener == nil {
		o.Listener = &Listener{}
	}
	o.Cut.Bytes = min(o.Cut.Bytes, o.MemoryBytes/headShare/3)
	if err := o.Compaction.setDefaults(o.Retention.MaxSizeBytes); err != nil {
		return err
	}
	return o.validate()
}

func (o *Options) validate() error {
	switch {
	case o.MemoryBytes < minMemoryBytes:
		return fmt.Errorf("memory of %d bytes is too little: use %d or more", o.MemoryBytes, minMemoryBytes)
	case o.Cut.Bytes < 0 || o.Cut.Spans < 0 || o.Cut.Spans > head.MaxRows/2 || o.Cut.Age < 0 || o.Cut.MaxFrozen < 0 || o.PurgeAfter < 0 || o.MaintenanceInterval < 0:
		return fmt.Errorf("cut sizes and intervals must be positive, and at most %d spans", head.MaxRows/2)
	case o.Scrub.BytesPerSecond < verifyLeast:
		return fmt.Errorf("a scrub of %d bytes per second would not get anywhere: use %d or more", o.Scrub.BytesPerSecond, verifyLeast)
	case o.Retention.Recent < 0 || o.Retention.PinMaxBytes < 0 || o.Retention.MaxAge < 0 || o.Retention.MaxSizeBytes < 0:
		return errors.New("retention must not be negative: use 0 for no bound")
	case o.Retention.MinFreePercentage < 0 || o.Retention.MinFreePercentage > 99:
		return fmt.Errorf("min_free_percentage of %v is out of range: use 0 to 99", o.Retention.MinFreePercentage)
	}
	_, err := o.walOptions()
	return err
}

func (o *Options) walOptions() (wal.Options, error) {
	w := wal.Options{SegmentBytes: o.WAL.SegmentBytes, SyncInterval: o.WAL.SyncInterval}
	switch o.WAL.Sync {
	case SyncInterval:
		w.Sync = wal.SyncInterval
	case SyncAlways:
		w.Sync = wal.SyncAlways
	case SyncOff:
		w.Sync = wal.SyncOff
	default:
		return w, fmt.Errorf("unknown WAL sync mode %q: use interval, always or off", o.WAL.Sync)
	}
	return w, nil
}
