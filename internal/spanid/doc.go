// Package spanid holds trace and span identifiers: parsing from the text forms that clients send,
// formatting to the text forms that the query APIs answer, and hashing for indexes, routing and sampling.
//
// Identifiers are plain byte arrays, so they are comparable, usable as map keys and free of pointers.
// The all-zero identifier means "none" (OTLP trace.proto: an all-zero id is invalid).
package spanid
