// Package wal is the write-ahead log: what Append has accepted, Replay returns after a crash.
//
// A log is a directory of segments, files of at most Options.SegmentBytes named by their number. A segment consists
// of pages, a record of fragments that do not cross pages; docs/format/wal.md describes every byte.
//
// # Invariants
//
//   - Sequence numbers ascend by one from record to record. A refused record has none: its number goes to the next
//     one that is accepted.
//   - Only the newest segment can have a torn tail: a segment is synced before its successor is created, and Open
//     cuts the tail off before anything is written.
//   - The header of a segment says which record is the last one accepted before it. Whatever an older segment holds
//     beyond that was refused, and is not replayed. This is how the log leaves behind a file whose state it cannot
//     know after a failed fsync.
//   - Nothing is ever written into a segment of an earlier run: the first Append after Open makes a new one.
//
// # Goroutines and locks
//
// One goroutine, the committer, does all writing, so that it owns the position in the file without a lock: Append
// encodes its record, puts it in the queue and waits; the committer writes everything that is queued at once and,
// with SyncAlways, syncs it at once. With SyncInterval a second goroutine syncs beside the writing. Both are started
// by Open and ended by Close. queue.mu guards the queue, WAL.mu what the two goroutines and readers share; they are
// never held together and no file operation is done under them.
package wal
