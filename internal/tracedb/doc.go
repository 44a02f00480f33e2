// Package tracedb is the storage engine: it makes batches of spans durable in a write-ahead log and searchable in
// memory. DB implements store.Store.
//
// # Directory
//
//	LOCK         exclusive; a second process fails at once
//	format.json  version of the layout; an unknown one is refused
//	wal/         segments of the write-ahead log
//
// # Parts
//
// Spans live in the live head, to which Append adds, and in frozen heads, which were cut from it and never change.
// The immutable struct state names them; a View is a counted reference to one. Whoever changes the set of parts makes
// a new state (DB.mu) and publishes it with one atomic store. A head's bytes return to the budget when the last state
// that names it is released.
//
// # Order
//
// Append holds DB.gate for reading from before it writes to the log until the head has the spans. A cut holds it for
// writing, so at that moment the log and the heads agree: every record up to the mark of a frozen head is in it or in
// an older one, every later record is not. Deleting a trace is a record too and holds the gate for writing, so that
// it covers exactly the spans accepted before it, also when replayed.
//
// A frozen head leaves by DB.retire: its state goes, then the log up to its mark. Today the only reason to leave is
// retention (DropReason). Blocks plug in there: write the oldest frozen head's Part as a block, name it in the
// manifest, publish a state that has the block instead of the head, retire the head.
//
// # Deletions
//
// A deleted trace's rows are masked: a wrapper around the part renumbers what is left, so that no query can see them.
//
// # Goroutines and locks
//
// One goroutine (DB.maintain) cuts and drops by age, size and free disk; the log has its own. Close ends and awaits
// them. Lock order: gate, dropping, mu.
package tracedb
