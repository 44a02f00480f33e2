// Package manifest reads and writes manifest.json, the list of blocks that make up a store and the mark up to which
// the write-ahead log is in them. docs/format/manifest.md describes every byte.
//
// The file is replaced as a whole (fsx.WriteFileAtomic): after a crash it is the old one or the new one. When Save
// fails, either may be found after a crash, so that whoever saves must keep what both need until a later Save has
// succeeded. Saves of one directory must not run at the same time.
package manifest
