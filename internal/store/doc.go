// Package store is the contract between those who write and read spans and the engine that keeps them.
// It holds types only: rows, columns, predicates, interfaces and errors. The engine (internal/tracedb) and the
// oracle (internal/store/oracle) implement it; the exporter, the query service and TraceQL use it. The engine does
// not know TraceQL, and the language does not know the engine: they meet here.
//
// # Durability
//
// Appender.Append returns nil only when the batch is as durable as the store was configured to make it (written to
// the WAL, or written and synced) and visible to every View acquired afterwards. On an error nothing of the batch is
// visible or durable, so that a client may send it again. Errors are retryable unless they wrap ErrTooLarge or
// ErrInvalid; see errors.go.
//
// # Ownership
//
// A Batch belongs to the caller of Append, who may reuse its slices after Append returns; its strings are immutable
// and may be retained by the store. What a View hands out is valid until View.Release and must not be modified.
//
// # Order
//
// Spans have no order but the row order within a part. Attributes of one span may come back in another order than
// they were given in; a key that was given twice comes back twice.
package store
