package tracedb

import (
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Listener is told what happens in a DB, for logs, metrics and tests. Any field may be nil. The functions are called
// from whichever goroutine it happens in, must return quickly and must not call the DB.
type Listener struct {
	// HeadCut: the live head was frozen.
	HeadCut func(HeadCut)
	// HeadDropped: a frozen head and its log were given up; its spans are gone.
	HeadDropped func(HeadDropped)
	// Replayed: Open has read the log.
	Replayed func(Replayed)
	// Corrupt: something on disk is not what was written and was skipped.
	Corrupt func(*store.CorruptionError)
	// Full: Append refuses from now on, because of the disk.
	Full func(reason string)
	// Recovered: Append accepts again.
	Recovered func()
	// TraceDeleted: so many spans of a trace were hidden.
	TraceDeleted func(spans int)
	// BlockWritten: a frozen head was written as a block, or a block anew.
	BlockWritten func(BlockWritten)
	// BlockDropped: a block is not part of the store any more.
	BlockDropped func(BlockDropped)
	// BlockQuarantined: a damaged block was taken out of use and moved away.
	BlockQuarantined func(BlockQuarantined)
	// BlockRepaired: what was damaged in a block was made again.
	BlockRepaired func(BlockRepaired)
	// Scrubbed: a pass over all blocks has ended.
	Scrubbed func(Scrubbed)
	// QuarantineDropped: a quarantined block was removed for good.
	QuarantineDropped func(QuarantineDropped)
	// FlushFailed: a block could not be written or put in use; it is tried again. Heads stay readable until then.
	FlushFailed func(FlushFailed)
	// Decided: blocks left the recent window, and it was decided which of their traces are kept.
	Decided func(Decided)
	// CompactionFailed: blocks could not be merged; it is tried again.
	CompactionFailed func(FlushFailed)
	// Error: work in the background did not succeed and will be tried again, or the log reported a failed write or
	// sync whose writers were told.
	Error func(error)
}

// CutReason says why a head was cut.
type CutReason string

// The reasons for a cut.
const (
	CutSize    CutReason = "size"
	CutAge     CutReason = "age"
	CutSpans   CutReason = "spans"
	CutRequest CutReason = "request"
	CutMemory  CutReason = "memory" // to have something that can be written as a block and freed
)

// DropReason says why a frozen head or a block was dropped.
type DropReason string

// The reasons for a drop.
const (
	DropAge       DropReason = "age"
	DropSize      DropReason = "size"
	DropDisk      DropReason = "disk"
	DropRewritten DropReason = "rewritten" // a block: what is left of it is in another one of the same level
	DropMerged    DropReason = "merged"    // a block: what is left of it is in one of a higher level
)

// BlockWritten describes a new block.
type BlockWritten struct {
	ID            string
	Level         int
	Spans, Traces int
	Bytes         int64 // on disk
	Duration      time.Duration
	From          string // what it was made from
	Blocks        int    // how many blocks it was made from; 0 for a head
	Copied        int    // spans that were copied without decoding
}

// Decided describes decisions about traces.
type Decided struct {
	Blocks       int // that left the recent window
	Traces, Kept int
	Duration     time.Duration
}

// BlockDropped describes a block that is gone.
type BlockDropped struct {
	ID     string
	Reason DropReason
	Spans  int
	Bytes  int64 // on disk
}

// BlockQuarantined describes a damaged block.
type BlockQuarantined struct {
	ID   string
	Path string // where it is now
	Err  error
}

// BlockRepaired describes a damaged block of which nothing was lost.
type BlockRepaired struct {
	ID string
	// As is the block that it was written as; ID itself if a file was put back in its place, empty if every trace in it
	// was deleted.
	As  string
	Err error // what was wrong
}

// Scrubbed describes a pass of the scrub.
type Scrubbed struct {
	Blocks   int
	Bytes    int64
	Damaged  int // blocks in which it found damage
	Duration time.Duration
}

// QuarantineDropped describes a block that leaves the quarantine.
type QuarantineDropped struct {
	ID     string
	Reason DropReason
	Bytes  int64 // on disk
}

// FlushFailed describes an attempt to write a block, from a head or from others, that did not succeed.
type FlushFailed struct {
	Err   error
	Retry time.Duration // until the next attempt
}

// HeadCut describes a head that was frozen.
type HeadCut struct {
	ID     string
	Reason CutReason
	Spans  int
	Traces int
	Bytes  int64
	// Mark is the number of the last log record in it.
	Mark uint64
}

// HeadDropped describes a frozen head that was dropped.
type HeadDropped struct {
	ID     string
	Reason DropReason
	Spans  int
	Bytes  int64
	Mark   uint64
}

// Replayed says what Open found in the log.
type Replayed struct {
	Segments int
	Records  uint64
	Spans    uint64
	// Bytes of the records, uncompressed.
	Bytes    int64
	Duration time.Duration
	// TornBytes were cut off the end, which is normal after a crash.
	TornBytes int64
	// Damaged places were skipped; Lost counts the records that are missing.
	Damaged int
	Lost    uint64
}

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}
