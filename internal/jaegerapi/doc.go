// Package jaegerapi speaks Jaeger's query APIs: the legacy JSON that older Jaeger UIs, scripts and Grafana's Jaeger data
// source use, and version 3 over HTTP and gRPC, which Jaeger UI 2 uses. It decodes requests into questions to
// query.Service and encodes the answers; it decides nothing about traces itself. The rules are those of Bramble's
// compatibility contract, section 8, cited by their ids (J-01, J-20, ...).
//
// API is an http.Handler for a port of its own, because /api/traces/{id} means something else in Tempo's API, and
// registers the gRPC service. It holds no state and is safe for concurrent use.
//
// # Searching
//
// Jaeger's parameters become one TraceQL spanset filter (filter.go), so both APIs find the same. Jaeger compares tags as
// text; TraceQL compares values with their types, so a tag whose text reads as a number or a boolean is looked for as
// both. Tags that Jaeger makes of OTLP's fields (span.kind, error, otel.status_code, ...) become conditions on those.
// The filter finds ids; the traces are then read one by one, each as one lookup.
//
// # Encoding
//
// The legacy JSON is Jaeger's model: processes, tags, logs, references, microseconds (model.go). Version 3 is OTLP:
// pdata's JSON over HTTP, with ids in hex and enums as numbers, and over gRPC TracesData in chunks that fit into clients'
// default message size.
//
// Jaeger's own server adjusts clocks and takes duplicate spans out before it answers, unless raw traces are asked for.
// Here every trace is raw: what was stored, in which a server span never shares its client's id.
package jaegerapi
