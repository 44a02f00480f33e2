// Package jaegerreceiver is the Collector's jaeger receiver with listeners of its own. Type, configuration and the
// translation of spans are contrib's. The ports of gRPC and of Thrift over HTTP stay open while the configuration is
// reloaded (keptport).
//
// Contrib's UDP listeners (0.158.0) end the process by a panic when they get an empty packet or a call of the agent's
// method for Zipkin spans, and UDP lets anybody who reaches the port send one. And Thrift, as contrib uses it, takes
// memory for as many spans as a message claims to hold: 800 MB for a POST of eight bytes.
//
// Here the sizes that a message claims for its lists and strings are checked against its own size before memory is taken
// for them. A UDP packet passes three steps, each of which ends with a count in otelcol_jaeger_udp_dropped_packets when it
// does not like what it sees:
//
//   - A listener's only reading goroutine takes a packet off the socket and puts a copy into a bounded queue.
//   - A worker decodes it with the generated Thrift code of Jaeger.
//   - The batch is translated to pdata and passed on, together with the client's address, so that processors which
//     look at the connection (k8s_attributes) work.
//
// Decoding and translation are other people's code over bytes of unknown origin: a panic in there is caught and costs
// that one message. What happens further down the pipeline is not caught, as it is not for other receivers: state that a
// panic left behind there is worse than a restart.
//
// All goroutines are started by Start and have ended when Shutdown returns; packets that were queued by then
// are still passed on.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package jaegerreceiver
