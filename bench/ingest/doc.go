// Command ingest measures what a Bramble binary costs under the reference workload: it starts the binary with a
// configuration, sends spans over OTLP/gRPC, and reads the server's own CPU time and memory from /proc.
//
// Requests are encoded before the clock starts. The server is a separate process on the same machine, so its CPU
// figures are exact, and its throughput is what is left beside the sender.
package main
