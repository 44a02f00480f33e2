// Package index holds the two small files that stand beside the tables of a block: traces.idx, which finds the rows of
// a trace, and attrs.idx, the catalogue of attributes with their most frequent values. Both formats are described byte
// by byte in docs/format/block.md.
//
// Invariants
//   - Every byte that is parsed has been checked by a CRC32C before.
//   - traces.idx is read page by page; only its bloom filter and the first key of each page are always in memory. Pages that
//     traces were looked up in are in a cache, if the reader has one.
//   - attrs.idx is read as a whole and bounded by maxCatalogBytes.
//
// Locks: TraceWriter and Catalog belong to one goroutine. Traces is immutable and safe for concurrent use.
package index
