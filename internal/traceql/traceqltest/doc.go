// Package traceqltest holds a script language for tests of TraceQL: load spans, evaluate queries, expect answers. The
// scripts under scripts/ are a corpus that cites contract ids; RunScripts runs all of them against any implementation
// of store, so that the oracle, a head, blocks of every level and mixtures have to give one answer.
//
//	load
//	span TRACE ID PARENT START DURATION name="GET /" service="shop" kind=server status=error x=1 r.y="a" i.z=true
//	event OFFSET "exception" type="IOError"       belongs to the span above
//	link TRACE SPAN rel="x"                       likewise
//
//	search IDS QUERY
//	TRACE: ID ID [KEY=VALUE ...]                  one line per spanset, newest trace first
//	none                                          nothing matches
//	error: TEXT                                   the error contains TEXT
//
//	show IDS QUERY                                like search, but each span with the attributes that are listed
//	instant IDS START END QUERY                   series with one value
//	range IDS START END STEP QUERY                series with a value per bucket, _ for none
//	names IDS SCOPE [FILTER]                      attribute names
//	values IDS ATTRIBUTE [FILTER]                 attribute values
//
// Trace and span ids are hex, PARENT is - for roots; service may be left out. Times are offsets from Epoch. Keys
// without prefix are span attributes, r. stands for resource and i. for instrumentation; values are written as in
// TraceQL, and [1, 2] is an array. A line that begins with # is a comment. Running the tests of this package with
// -update rewrites what is expected.
//
// Naive is a second implementation of the language: per trace, by plain recursion over the syntax tree, sharing no
// code with package exec. Tests compare both on random queries over random traces.
package traceqltest
