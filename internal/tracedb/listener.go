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
)

// DropReason says why a frozen head was dropped.
type DropReason string

// The reasons for a drop.
const (
	DropMemory DropReason = "memory"
	DropAge    DropReason = "age"
	DropSize   DropReason = "size"
	DropDisk   DropReason = "disk"
)

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
