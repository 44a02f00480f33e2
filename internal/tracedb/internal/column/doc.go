// Package column writes and reads flat Parquet tables: columns of numbers, text and fixed-width bytes, required or
// optional, never nested. It knows pages, encodings and footers, and nothing about spans.
//
// A Builder collects the values of one column for one row group. An Encoder turns a builder into the pages of a column
// chunk; FlatEncoder is the one in use, another one can be given to a FileWriter. A FileWriter lays chunks out in a
// file and ends it with page indexes and a footer. A File reads them back, one granule of one column at a time, or picks
// the values of some rows from it.
//
// Invariants
//   - Pages end where granules end (store.GranuleRows); a page that would grow beyond maxPageBytes is cut earlier.
//   - A chunk has one data encoding and one codec. Every page carries the CRC32 of its bytes as stored, which
//     File checks before it decodes.
//   - Page indexes and footer are covered by CRC32C sums that the owner of the file keeps (Layout).
//   - Nothing that a file says is trusted: sizes are checked against the file before memory is taken for them, and
//     whatever is wrong becomes a *store.CorruptionError.
//
// The thrift structures, level and index runs, and all decoders are our own: they are small for flat tables, need no
// reflection and can be bounded. Delta encoders, bloom filter blocks and XXH64 are parquet-go's; zstd is
// klauspost/compress.
//
// Locks: Builder and FileWriter belong to one goroutine. File is immutable after Open and safe for concurrent use.
package column
