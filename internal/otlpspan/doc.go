// Package otlpspan converts between OTLP and the flat rows of package store. It is the only place that knows both.
//
// There are four directions. Flatten and Build go between pdata and a store.Batch; AppendProto and ReadProto go
// between the OTLP protobuf encoding (TracesData, ExportTraceServiceRequest) and a store.Batch without pdata, which
// is several times faster. Build and the pdata unmarshaler on AppendProto's output give the same traces; so do Flatten
// and ReadProto on the same bytes.
//
// # What is kept
//
// Every field that pdata knows is kept: attributes of all types and depths (in order, duplicate keys included), events,
// links, all six dropped counts, both schema URLs, entity references, trace state, flags, unknown kinds and status
// codes. A ResourceSpans or ScopeSpans without spans vanishes. These are lost, in the pdata receiver as well as here:
//
//   - Fields that OTLP gains after this was written. TestEveryFieldSurvives fails when the generated OTLP code in
//     go.mod has a field that is not in its table.
//   - AnyValue.string_value_strindex and KeyValue.key_strindex, which OTLP defines for profiles only and tells receivers
//     of other signals to treat as unset: such a value is read as empty.
//   - ScopeSpans in the field number 1000 of OTLP before 0.15; receivers move them before anything here sees them.
//
// # Ownership and memory
//
// Strings that Flatten hands out are pdata's. pdata makes each string with a copy of its own and never writes to it, and
// its message pools (feature gate pdata.useProtoPooling) recycle structs but not the bytes of strings, so rows stay valid
// after the Traces are released. Byte values are mutable in pdata and therefore copied. Strings that ReadProto hands out
// share one copy of the whole input: who keeps a few of them for long should strings.Clone these. An Arena recycles the
// memory of attributes, events and links from batch to batch. Nothing here starts goroutines or locks.
package otlpspan
