package wal

import (
	"fmt"
	"time"
)

// SyncMode says what Append waits for.
type SyncMode uint8

const (
	// SyncInterval: Append returns when the record is with the operating system, which keeps it if this process is
	// killed. A power cut loses at most what was appended in the last SyncInterval.
	SyncInterval SyncMode = iota
	// SyncAlways: Append returns when the record is on the disk.
	SyncAlways
	// SyncOff: as SyncInterval, but nothing is synced before a segment is full, Sync or Close. A power cut loses at
	// most a segment.
	SyncOff
)

func (m SyncMode) String() string {
	switch m {
	case SyncInterval:
		return "interval"
	case SyncAlways:
		return "always"
	case SyncOff:
		return "off"
	}
	return fmt.Sprintf("SyncMode(%d)", uint8(m))
}

// Defaults and bounds of Options.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultSyncInterval = 100 * time.Millisecond
	MinSegmentBytes     = 4 << 10
	MaxSegmentBytes     = 1 << 30
)

// Options configure a log. The zero value means the defaults.
type Options struct {
	// SegmentBytes is the largest size of a segment, and so bounds the size of a record. Default
	// DefaultSegmentBytes, at least MinSegmentBytes, at most MaxSegmentBytes.
	SegmentBytes int64
	Sync         SyncMode
	// SyncInterval is the longest time between an Append and the sync that covers it. Default DefaultSyncInterval.
	// Only SyncInterval uses it.
	SyncInterval time.Duration
	// FirstSeq is the least sequence number that Append may give. An owner that remembers numbers elsewhere (the
	// manifest's low-water mark) sets it above them: a power cut can take the newest records away, and their
	// numbers must not come back with other contents. 0 leaves it to the log.
	FirstSeq uint64
	// OnEvent is told what happens, for logs, metrics and tests. It is called from the log's goroutines and must
	// return quickly and not call the log.
	OnEvent func(Event)
}

func (o *Options) setDefaults() error {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = DefaultSyncInterval
	}
	switch {
	case o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes:
		return fmt.Errorf("segment size %d is out of range: use %d to %d bytes", o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	case o.SyncInterval < 0:
		return fmt.Errorf("sync interval %s is negative", o.SyncInterval)
	case o.Sync > SyncOff:
		return fmt.Errorf("unknown sync mode %d", o.Sync)
	}
	return nil
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events, with the fields that they use beside Path.
const (
	SegmentCreated EventKind = iota // Seq: the first number it may hold
	SegmentRemoved                  // Bytes
	TornTail                        // Bytes cut off the newest segment by Open
	Synced                          // Seq: all up to it are durable; Duration
	SyncFailed                      // Err, Seq: what came after it may be lost; Duration
	WriteFailed                     // Err; the writers were told
	SegmentLeft                     // Err: why the segment is not written to any more
)

var eventNames = [...]string{
	"segment created", "segment removed", "torn tail cut", "synced", "sync failed", "write failed", "segment left",
}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is one thing that happened.
type Event struct {
	Kind     EventKind
	Path     string
	Seq      uint64
	Bytes    int64
	Duration time.Duration
	Err      error
}

func (w *WAL) event(e Event) {
	if w.opts.OnEvent != nil {
		w.opts.OnEvent(e)
	}
}
