// Package reload edits the configuration of the running binary: edits that are bad in every way that people and machines
// manage, edits that pass the checks and fail, and good ones in quick succession under load. The process must never end,
// no acknowledged span may be lost, and what was wrong must be said.
package reload
