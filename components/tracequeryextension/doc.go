// Package tracequeryextension owns the query port (3200): HTTP/1.1, HTTP/2 with and without TLS, and gRPC, told apart by
// protocol and content type. It finds the store, makes the query service and the Tempo API over it, serves /ready,
// /metrics, /status and pprof, and lets other components mount pages (internal/webmount). It decides nothing about
// traces.
//
// # What may wait for how long
//
// The server has no write timeout, which would cut long streams. Instead every single write must make progress within
// write_timeout (stall.go), headers must arrive within read_header_timeout, queries end at limits::timeout, and
// request bodies, which no endpoint needs, are not waited for.
//
// # Lifecycle
//
// Start listens, so that a port in use is an error of the start. /ready is 200 once the Collector says that all
// pipelines run, and 503 again from Shutdown on. Shutdown lets requests finish for shutdown_timeout, then cancels
// them, and returns when no query uses the store any more; the store, which the extension depends on, closes after it.
//
// The table of mounts is behind an atomic pointer and replaced under a lock; everything else is set in Start.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package tracequeryextension
