// Package tracemetrics turns spans into metrics: span metrics (calls, latency, size), a service graph, target and host
// information, with the names, labels, buckets and pairing rules of the compatibility contract, section 7 (N-01 to N-44).
// Rows of store.Batch go in (Aggregator.Count), OTLP metrics come out (Aggregator.Collect). It knows no components, no
// clock and no network, and starts no goroutines: who owns an Aggregator says what time it is and when to collect.
//
// # Invariants
//
// All counts are cumulative and kept as float64, so that sampling weights need no rounding per span; sums of whole numbers
// are exact up to 2^53. The bucket counts of an OTLP histogram are whole: each is the rounded accumulator of its bucket,
// which never falls, and the count of the histogram is their sum.
//
// Every series carries the node label, and a new one is preceded by a zero sample (N-41) whose time is after everything
// that was collected before. Series that saw nothing for StaleDuration end with a point that has no value (a stale marker).
//
// Memory is bounded by the limits of the Config: each table has at most MaxActiveSeries series plus one overflow series
// (label metric_overflow="true"), each label at most MaxCardinalityPerLabel values plus __cardinality_overflow__. Nothing
// that is counted is ever dropped because of a limit; it is counted in a series that says so. No string of a batch is kept:
// what is kept is copied, because strings of a batch may share the memory of a whole request.
//
// # Locks
//
// A table is split into shards by the hash of the label values, one mutex each; a span holds one shard's mutex for a few
// additions. Creating a series takes the table's limits lock first, then the shard's; nothing takes them the other way
// round. The halves of service-graph edges that wait for their other half are sharded by trace id. A shard of waiting
// halves and a shard of a table are never locked at once. Collect is serialised by the Aggregator's own mutex.
package tracemetrics
