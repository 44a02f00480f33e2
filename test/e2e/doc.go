// Package e2e tests the built binary from outside, with clients that nobody here wrote: telemetrygen, the OpenTelemetry
// Go SDK, curl, Jaeger's generated Thrift code, the Zipkin client, and Node.js services with auto-instrumentation. The
// configurations are the shipped ones and those of users as they had them (testdata).
//
// `make build build/telemetrygen` makes what the tests run; BRAMBLE_BIN names another binary. What needs a program that
// is not there is skipped and says how to get it; with BRAMBLE_FULL=1 it fails instead, and slow tests run too.
package e2e
