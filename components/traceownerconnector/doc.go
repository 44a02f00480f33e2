// Package traceownerconnector is the trace_owner connector: it brings the spans of a trace together on one agent, the
// trace's owner. It stands between two pipelines of traces: what arrives is split by owner, the share of this agent goes
// to the next pipeline by a function call, the others' over OTLP to where theirs begins.
//
// Owners are the agents that trace_query knows as its peers and that answer. The owner of a trace is the agent for which
// a hash of the node's name and the trace id is highest (rendezvous hashing): when a node comes or goes only its own
// share moves, and a pod that starts again with another address changes nothing. Agents that see different lists for a
// moment choose different owners for some traces; queries bring those together.
//
// Consume returns when every span is where it belongs, so that an acknowledged span is a stored span. A share that its
// owner does not take goes to the next pipeline of this agent, and only that share. If that fails too, the error goes
// to the client, who sends everything again; spans that are then stored twice are one in answers about traces.
//
// The connector starts goroutines for shares of other agents, which end before ConsumeTraces does. Its mutex guards the
// connections.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package traceownerconnector
