// Package block writes and reads immutable blocks: a directory with flat Parquet tables of spans, resources, events and
// links, a trace index, an attribute catalogue and meta.json. The format is described byte by byte in
// docs/format/block.md, overlays in docs/format/overlay.md. A Block is a store.Part.
//
// A Writer takes spans in their final order and needs memory for one row group, and for one entry per trace. It is used
// as NewWriter, Append for each piece, then Finish; Abort at any time removes what was written. A directory gets its
// final name when everything in it is durable.
//
// A Reader opens blocks. What they decode is kept in a Cache that the caller gives and sizes; without room in it they
// are slower and nothing else. Of whole spans only the wanted rows are decoded, and nothing of them is kept, until the
// same granule is asked for again soon (Block.keep). Files are read by pread and closed when the last reference to the
// block is gone, after which OnZero may delete the directory. An Overlay changes what a block says about resources,
// scopes and traces; WithOverlay makes a copy of the block that applies it and leaves the block as it is, so that older
// views are not disturbed. Rows keep their numbers: HiddenRows tells the ones to mask.
//
// Invariants
//   - Nothing in a block changes after its rename. Overlay files are added beside, never overwritten.
//   - The first value of a key is in a column or, if it has none, first in the overflow column; later values of the same
//     key are only in the overflow column. Filters depend on it.
//   - Row groups but the last hold whole granules, so that granules count through the block.
//   - No damage to a file makes the reader panic or answer wrongly: checksums come before parsers, parsers check sizes
//     before they allocate, and a panic that happens all the same becomes a *store.CorruptionError.
//
// Locks: a Writer belongs to one goroutine. Block is safe for concurrent use; its one mutex guards the open files, its
// reference count is atomic. LRU, the memos of dictionary matches and of resource columns have a mutex each; none is held
// while another is taken, nor during I/O, except that of open files while one is opened.
package block
