// Package diskscan looks for texts in everything that a process has left on disk, or said. It exists for tests that
// claim that something is not there: a search of the raw bytes proves little where logs and pages are compressed, so a
// scan looks in five ways, and reports what each of them has found:
//
//   - Raw: the bytes of every file and every file's name.
//   - Frames: every zstd frame in every file, decompressed: pages of Parquet and the attribute catalogue (frames.go).
//   - Log: every record of the write-ahead log, decoded by what docs/format/wal.md says and not by the code under test
//     (log.go).
//   - Reader: every row and every catalogue entry that the store itself reads from a copy of the directory (reader.go).
//   - DuckDB: every value of every Parquet file, read by DuckDB (duckdb.go; needs test/interop's npm packages).
//
// A test that finds nothing must show that the same scan finds what is there: run it also over a directory that holds
// the texts.
//
// Texts are looked for as Needles, short windows of them, so that a remainder of a text is found too. A scan copies the
// directory first, because the store may be writing it; what disappears meanwhile is left out.
package diskscan
