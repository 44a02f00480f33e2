// Package conformance drives the built binary over the network as Grafana, tempo-cli and scripts do, and compares what
// it says with the compatibility contract. Each case names the lines of the contract that it covers (C-05, T-02, …);
// ids.go lists all of them, and TestEveryLineHasACase fails for one without a case.
//
// The cases are in files by the sections of the contract: conventions, health and traces (0, 1.1, 1.2), search (1.3),
// tags and values (1.4, 1.5), metrics (1.6), streams (2), what Grafana calls (3). They run twice in one process: while
// the fixture is in memory, and when it is in blocks on disk. Cases that need a configuration of their own (TLS, limits,
// a path prefix) start binaries of their own. The Jaeger API (8) has its cases in jaeger_*.go.
//
// TestRecorded replays requests that were recorded with the answers of a real Tempo, if the recording lies beside the
// checkout. TestDocumentedCalls runs the commands of the documentation. TestUnderLoad asks while spans arrive.
package conformance
