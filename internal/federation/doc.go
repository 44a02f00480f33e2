// Package federation makes the stores of several agents answer as one: it knows the peers, and carries the questions of
// internal/query to them (query.Peer) over a gRPC service of its own (peerpb). What is asked and how answers become one
// is decided there.
//
// Peers keeps the list of agents that a Resolver (a static list, the addresses of a DNS name, the EndpointSlices of a
// Kubernetes Service) gives. Every agent may have the same list: an agent recognises itself by the instance that Hello
// returns. Each peer is greeted regularly by a goroutine of its own. One that fails to answer is down from the second
// time on: it is not asked any more, calls that wait for it end, and answers name it as missing, until it answers
// again. So a node that hangs costs a few seconds once and not the time limit of every query. A node that leaves the
// list stays missing for a while: its spans are unreachable, not gone.
//
// Questions are calls of the service Peer, made in turn on streams that stay open (service Lines): beginning a stream takes
// both sides together longer than most answers do. A call that gRPC's own instrumentation shows, in a trace that is
// recorded or in metrics of level detailed, is one of its own, and so are Hello and Newest, in which both sides go on talking.
//
// Results come in pieces, so no message is large; requests are as large as the list of traces they are about. Close
// ends all goroutines and connections. The lock of Peers is never held while something is called.
package federation
