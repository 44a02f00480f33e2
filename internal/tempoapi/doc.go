// Package tempoapi speaks Grafana Tempo's query API over HTTP and gRPC. It decodes requests into questions to
// query.Service and encodes the answers; it decides nothing about traces itself. The rules are those of Bramble's
// compatibility contract, cited by their ids (T-02, C-05, ...).
//
// API is an http.Handler for the paths below /api and registers the streaming service on a grpc.Server. It holds no
// state but pools and counters and is safe for concurrent use.
//
// # Encoding
//
// JSON is written by hand-made encoders (json.go and its users) in the dialect of C-05: 64-bit numbers as strings, ids in
// traces as base64, defaults left out, but some empty lists present. Clients decode it strictly (C-06), so nothing may be
// added. Traces are encoded straight from store rows; everything else from the messages of tempopb, which are also
// what gRPC and `Accept: application/protobuf` send. Text that is not UTF-8 is made so, because JSON and protobuf
// clients refuse the whole answer otherwise.
//
// # Errors
//
// Bodies are plain text that is fit to be shown to the user (C-10). query.KindOf decides the status (errors.go).
package tempoapi
