// Package exec runs plans of TraceQL queries over a store.View.
//
// Search and Metrics begin alike: granules that cannot hold a matching span are skipped by what the store knows of
// them; in the others, conditions on single columns turn rows into bitmaps, cheapest first. What can be decided span
// by span ends there: metrics of such queries read the columns they group and measure by for the marked rows only.
// Everything else (structure, aggregates, by(), intrinsics of the trace) is decided on whole traces: the marked rows
// name the traces, whose spans are then read from all parts that may have some (View.Split).
//
// A search goes from new to old in growing steps and keeps the newest Limit traces. A trace starts no later than any
// of its spans, so it stops reading, and skips granules, once no older span can lead to a newer trace.
//
// Results of metrics come in two steps: a Partial holds mergeable sums of one store, Finish turns merged ones into
// series. Federation sends the former.
//
// A run belongs to one call. Its parallel steps share nothing but atomic counters, the meter of memory (one mutex) and
// what each says. Goroutines end before the call returns. A query stops at the next column read after its context
// ended. Views are used, not released.
package exec
