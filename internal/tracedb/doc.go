// Package tracedb is the storage engine: it makes batches of spans durable in a write-ahead log, searchable in memory
// at once, and writes them as immutable blocks. DB implements store.Store.
//
// # Directory
//
//	LOCK           exclusive; a second process fails at once
//	format.json    version of the layout; an unknown one is refused
//	manifest.json  live blocks and the mark up to which the log is in them
//	wal/           segments of the write-ahead log
//	blocks/        a directory per block; *.tmp and *.deleted are leftovers
//	quarantine/    damaged blocks, each with reason.txt
//
// # Parts
//
// Spans live in the live head, to which Append adds, in frozen heads, which were cut from it and never change, and in
// blocks. The immutable struct state names them; a View is a counted reference to one. Whoever changes the set of parts
// makes a new state (DB.mu) and publishes it with one atomic store. A head's bytes return to the budget, and a block's
// directory goes, when the last state that names it is released.
//
// # Order
//
// Append holds DB.gate for reading from before it writes to the log until the head has the spans. A cut holds it for
// writing, so at that moment the log and the heads agree: every record up to the mark of a frozen head is in it or in
// an older one, every later record is not. Deleting a trace is a record too and holds the gate for writing, so that
// it covers exactly the spans accepted before it, also when replayed.
//
// A frozen head leaves oldest first: its block is complete and durable, then the manifest names the block and the mark,
// then a state has the block instead of the head, then the log up to the mark is freed. DB.save, under DB.commit, is the
// only one to write manifests, and takes changed overlays with it. If it fails either manifest may be on disk, so
// that a job stays pending until it is finished, and its block stays on disk until a manifest without it is.
//
// # Deletions
//
// The log record makes a deletion durable. In heads the rows are masked: a wrapper around the part renumbers what is
// left; when the head is written they are left out. In blocks the overlay notes the trace and the rows are masked too,
// until the block is written anew (PurgeAfter, Rewrite). A record that is replayed erases in blocks as well: a record
// behind the mark is newer than every span in blocks.
//
// # Memory
//
// Options.MemoryBytes is one budget (memory.go). Appends take what their spans need before they are logged and wait for it.
// A part is kept for the flusher, which never waits: it counts what it uses, and where that is more than its part it takes
// the rest from the others at once. A merge begins when what it needs is free, and counts what it uses too.
//
// # Compaction
//
// compact.Plan names blocks to be merged, DB.mergeBlocks writes them as one without what overlays hide, and finishMerge
// puts it in their place under DB.commit, if all of them are still there; otherwise the work was in vain. Notes that
// came meanwhile go with it. Writing a block anew after a deletion is a merge of one.
//
// # Goroutines and locks
//
// DB.maintain cuts by age and applies retention, DB.flushLoop writes heads as blocks and blocks anew, DB.compactLoop
// merges blocks, the log has its own. Close ends and awaits them. Lock order: flushing or compacting, gate, commit, mu.
package tracedb
