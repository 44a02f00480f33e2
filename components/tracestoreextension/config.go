package tracestoreextension

import (
	"errors"
	"fmt"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.opentelemetry.io/collector/component"

	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// Config is the configuration of one trace store.
type Config struct {
	// Directory holds everything the store keeps. It is created if it does not exist. One process at a time may use
	// it.
	Directory string `mapstructure:"directory"`
	// WAL is the write-ahead log, which makes an acknowledged span survive the end of the process.
	WAL WALConfig `mapstructure:"wal"`
	// Memory bounds what the store holds in memory.
	Memory MemoryConfig `mapstructure:"memory"`
	// Scrub verifies the files of blocks in the background.
	Scrub ScrubConfig `mapstructure:"scrub"`
	// Compaction merges blocks.
	Compaction CompactionConfig `mapstructure:"compaction"`
	// Retention says what is kept and for how long.
	Retention RetentionConfig `mapstructure:"retention"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// WALConfig configures the write-ahead log.
type WALConfig struct {
	// Sync is one of:
	// interval: acknowledge when the record is written, sync every sync_interval. A crash of the process loses
	// nothing, a power cut loses at most the interval.
	// always: acknowledge when the record is synced to the disk.
	// off: leave syncing to the operating system.
	Sync string `mapstructure:"sync"`
	// SyncInterval is the time between syncs with `sync: interval`.
	SyncInterval time.Duration `mapstructure:"sync_interval"`

	_ struct{}
}

// MemoryConfig bounds the memory of the store. The names are those of the memory_limiter processor.
type MemoryConfig struct {
	// LimitMiB is the limit in MiB. If it is 0, limit_percentage counts.
	LimitMiB uint32 `mapstructure:"limit_mib"`
	// LimitPercentage is the limit in percent of the container's memory limit, or of the machine's memory.
	LimitPercentage uint32 `mapstructure:"limit_percentage"`

	_ struct{}
}

// ScrubConfig says how the files of blocks are compared with their checksums, to find failing disks while what they hold
// can still be repaired or is elsewhere.
type ScrubConfig struct {
	// Enabled turns it on.
	Enabled bool `mapstructure:"enabled"`
	// Interval is the time in which each block is verified once.
	Interval time.Duration `mapstructure:"interval"`
	// RateMiB bounds the reading, in MiB per second.
	RateMiB int64 `mapstructure:"rate_mib"`

	_ struct{}
}

// CompactionConfig says how blocks are merged: those of an hour to larger ones, and these to still larger ones of the
// same day (UTC).
type CompactionConfig struct {
	// Enabled turns it on. Without it there are more files and slower queries, and a trace that was cut stays so.
	Enabled bool `mapstructure:"enabled"`
	// MinBlocks is how many blocks of an hour are merged at least, from 2 on.
	MinBlocks int `mapstructure:"min_blocks"`
	// MaxBlockSizeMiB bounds the size of merged blocks. An eighth of retention::max_size_mib is a bound, too.
	MaxBlockSizeMiB int64 `mapstructure:"max_block_size_mib"`
	// CPULimitPercentage is how much of one CPU merging may take, from 1 to 100.
	CPULimitPercentage int `mapstructure:"cpu_limit_percentage"`

	_ struct{}
}

// RetentionConfig says what is kept. The oldest data goes first.
type RetentionConfig struct {
	// Recent is the window in which every span is kept, whatever sampling decides later.
	Recent time.Duration `mapstructure:"recent"`
	// PinMaxMiB bounds the size on disk of traces that are pinned, which means kept whatever sampling decides.
	PinMaxMiB int64 `mapstructure:"pin_max_mib"`
	// MaxAge is the age after which spans are deleted. 0 keeps them until one of the other limits is reached.
	MaxAge time.Duration `mapstructure:"max_age"`
	// MaxSizeMiB is the size on disk, log included, beyond which the oldest spans are deleted. 0 means no limit.
	MaxSizeMiB int64 `mapstructure:"max_size_mib"`
	// MinFreePercentage is the share of the disk that is left free: below it the oldest spans are deleted, and when
	// nothing is left to delete new spans are refused until there is space.
	MinFreePercentage uint32 `mapstructure:"min_free_percentage"`

	_ struct{}
}

const (
	mib = 1 << 20
	// minMemory is the smallest budget with which the store can take a request of the default receiver limit.
	minMemory = 16 * mib
)

func createDefaultConfig() component.Config {
	return &Config{
		Directory: "./data",
		WAL:       WALConfig{Sync: "interval", SyncInterval: 100 * time.Millisecond},
		Memory:    MemoryConfig{LimitPercentage: 25},
		Scrub:     ScrubConfig{Enabled: true, Interval: tracedb.DefaultScrub, RateMiB: tracedb.DefaultScrubRate / mib},
		Compaction: CompactionConfig{
			Enabled:            true,
			MinBlocks:          tracedb.DefaultMinBlocks,
			MaxBlockSizeMiB:    tracedb.DefaultMaxBlockBytes / mib,
			CPULimitPercentage: tracedb.DefaultCPUPercentage,
		},
		Retention: RetentionConfig{
			Recent:            time.Hour,
			PinMaxMiB:         tracedb.DefaultPinMaxBytes / mib,
			MaxAge:            72 * time.Hour,
			MaxSizeMiB:        10240,
			MinFreePercentage: 5,
		},
	}
}

// Validate names the path of each field that is out of range.
func (c *Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	add(c.Directory == "", "directory: must not be empty")
	switch c.WAL.Sync {
	case "interval", "always", "off":
	default:
		add(true, "wal::sync: must be interval, always or off, is %q", c.WAL.Sync)
	}
	add(c.WAL.Sync == "interval" && c.WAL.SyncInterval <= 0, "wal::sync_interval: must be above 0, is %s", c.WAL.SyncInterval)
	add(c.Memory.LimitMiB == 0 && c.Memory.LimitPercentage == 0, "memory: set limit_mib or limit_percentage")
	add(c.Memory.LimitPercentage > 80, "memory::limit_percentage: must be at most 80, is %d", c.Memory.LimitPercentage)
	add(c.Memory.LimitMiB > 0 && int64(c.Memory.LimitMiB)*mib < minMemory, "memory::limit_mib: must be at least %d, is %d", minMemory/mib, c.Memory.LimitMiB)
	add(c.Scrub.Enabled && c.Scrub.Interval < time.Minute, "scrub::interval: must be at least 1m, is %s", c.Scrub.Interval)
	add(c.Scrub.Enabled && c.Scrub.RateMiB < 1, "scrub::rate_mib: must be at least 1, is %d", c.Scrub.RateMiB)
	add(c.Compaction.MinBlocks < 2, "compaction::min_blocks: must be at least 2, is %d", c.Compaction.MinBlocks)
	add(c.Compaction.MaxBlockSizeMiB < 1, "compaction::max_block_size_mib: must be at least 1, is %d", c.Compaction.MaxBlockSizeMiB)
	add(c.Compaction.CPULimitPercentage < 1 || c.Compaction.CPULimitPercentage > 100,
		"compaction::cpu_limit_percentage: must be 1 to 100, is %d", c.Compaction.CPULimitPercentage)
	add(c.Retention.Recent < 0, "retention::recent: must not be negative, is %s", c.Retention.Recent)
	add(c.Retention.PinMaxMiB < 1, "retention::pin_max_mib: must be at least 1, is %d", c.Retention.PinMaxMiB)
	add(c.Retention.MaxAge < 0, "retention::max_age: must not be negative, is %s", c.Retention.MaxAge)
	add(c.Retention.MaxAge > 0 && c.Retention.MaxAge < c.Retention.Recent,
		"retention::max_age: must not be below retention::recent (%s), is %s", c.Retention.Recent, c.Retention.MaxAge)
	add(c.Retention.MaxSizeMiB < 0, "retention::max_size_mib: must not be negative, is %d", c.Retention.MaxSizeMiB)
	add(c.Retention.MinFreePercentage > 90, "retention::min_free_percentage: must be at most 90, is %d", c.Retention.MinFreePercentage)
	return errors.Join(errs...)
}

// memoryBytes is the budget in bytes. A percentage counts from the cgroup's limit, or from the machine's memory
// where there is none.
func (c *MemoryConfig) memoryBytes() (int64, error) {
	if c.LimitMiB > 0 {
		return int64(c.LimitMiB) * mib, nil
	}
	total, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0, fmt.Errorf("find how much memory there is (set memory::limit_mib instead of limit_percentage): %w", err)
	}
	return max(int64(total/100)*int64(c.LimitPercentage), minMemory), nil
}
