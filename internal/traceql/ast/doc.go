// Package ast is the syntax tree of TraceQL as the parser builds it: what a query says, before anything is known
// about how to answer it. Nodes are plain structs without positions, so that two trees of the same query are equal.
//
// String of a node prints a query that parses to an equal tree; brackets are printed only where precedence needs
// them (contract 4.3). The printed form of an expression is also the key of a spanset attribute, such as
// by(span.http.route) or avg(duration) (S-28), and that of an attribute the label of a metrics series.
//
// Check is the static validation of section 4.4. It is separate from parsing, because clients of the tag endpoints
// send queries that parse only in part, and because its errors have no position.
//
// Trees are immutable after parsing and safe for concurrent use.
package ast
