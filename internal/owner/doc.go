// Package owner says which node of a list a trace belongs to: the one for which a hash of its name and of the trace id
// is highest (rendezvous hashing). When a node comes or goes only its own share moves, and the answer depends on names
// only, not on their order. Who brings spans together on owners (trace_owner) and who asks which traces may be split
// over nodes (internal/query) must agree only with themselves, but where both agree queries need fewer rounds.
package owner
