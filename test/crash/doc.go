// Package crash kills the built binary while it takes spans and counts, after a restart, what it had acknowledged and
// no longer has. Crashes of the file system (power cuts, torn and lost writes) are tested where the files are written,
// in internal/fsx and internal/tracedb; here it is the process and its real clients.
//
// BRAMBLE_FULL=1 makes more and longer rounds.
package crash
