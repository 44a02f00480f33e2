// Package query answers questions about stored traces for every API (Tempo's, Jaeger's, MCP). The APIs decode
// and encode; what a question costs and whether it may run is decided here, so that it is decided once.
//
// Service owns three things. Limits: how large a trace may be, how long a query may run. Admission: how many queries
// run at the same time and in which order those that must wait get their turn; clients take turns, so that one who
// asks a lot waits for himself and not at the expense of others. Views: a store.View is acquired for one query and
// released when the caller's function has come back, so that nothing of it can be used too late.
//
// It knows nothing about HTTP, gRPC or the Collector. Errors are typed (errors.go) and each API gives them its codes.
//
// Service is safe for concurrent use. No goroutine outlives the call that started it; Drain ends what waits and refuses what
// comes, then waits for what runs. The admission's lock is never held while a query runs.
//
// A search over several agents (newest, merging) lets each of them tell of its newest traces, a portion at a time. One that
// has told of its portion waits, without a place of its own and without keeping others from being asked, until it is
// certain that it has further ones among the newest, or that it has none.
package query
