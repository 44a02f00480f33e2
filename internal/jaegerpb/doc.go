// Package jaegerpb holds the protobuf messages and the gRPC service of Jaeger's query API, version 3 (contract section
// 8.3). jaeger_api_v3.proto is ours; the Go code is generated from it as in package tempopb, by the same program. Traces
// are OTLP's own generated types.
//
//go:generate go run -C ../../tools/protogen . ../../internal/jaegerpb jaeger_api_v3.proto
package jaegerpb
