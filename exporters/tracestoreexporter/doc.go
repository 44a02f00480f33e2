// Package tracestoreexporter writes spans into the store of a trace_store extension. It holds no logic but the
// mapping of errors: what the store may accept later is retryable for the client, everything else is permanent.
//
// It is synchronous: ConsumeTraces returns nil only when the store has the spans as durably as it is configured to.
// The sending queue and the retries of the exporter helper are off by default, because a queue acknowledges before
// the data is safe; the group commit of the store's log is the batching.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package tracestoreexporter
