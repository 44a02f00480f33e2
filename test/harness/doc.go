// Package harness runs the built binary for tests: on free loopback ports, with a data directory of its own, killed and
// started again as the test wants, and asks it for traces.
//
// The binary is the file that the environment variable BRAMBLE_BIN names, or bin/bramble, which `make build` makes. It
// is run with the configurations as they are shipped or as users wrote them: a last --config argument moves each
// listener that they open to a free port of 127.0.0.1 and each directory to the test's own, and changes nothing else.
//
// Acks collects the ids of spans whose sending was acknowledged: by the Go SDK (AckExporter) or by clients that cannot
// be asked, through a proxy that notes what the binary answered (HTTPRecorder, GRPCRecorder). Acks.Missing then says
// which of them the binary does not have.
//
// Nothing here sleeps: waiting is polling, or waiting for a line of the log, with a deadline. Helpers that take a
// testing.TB end the test when something goes wrong that is not the test's subject. They start goroutines only for the
// time of a test and wait for them in its cleanup.
package harness
