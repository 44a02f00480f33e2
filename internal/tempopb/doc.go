// Package tempopb holds the protobuf messages and the streaming gRPC service of Tempo's query API (contract sections
// 2.1 and 2.2).
//
// tempo.proto is ours, written from the contract's table of names and field numbers; tempo.pb.go and tempo_grpc.pb.go
// are generated from it by tools/protogen, which is a module of its own so that its compiler and plugins, pinned
// there, do not become dependencies of the binary. It needs neither protoc nor a network once its modules are in the
// cache:
//
//	go generate ./internal/tempopb
//
// ResourceSpans, KeyValue and AnyValue are OTLP's own generated types. In Tempo's files they carry other package
// names; on the wire only numbers count, which are the same.
//
// JSON is not protojson's here: see internal/tempoapi, which writes the dialect of C-05.
//
//go:generate go run -C ../../tools/protogen . ../../internal/tempopb tempo.proto
package tempopb
