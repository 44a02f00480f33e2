// Package plan turns a validated query into what execution has to do.
//
// Every filter becomes a Cond: a tree of tests on single columns, which a store decides by itself and without
// looking at other columns, and of whatever else has to be computed per span. A Pipeline says which columns
// evaluation reads, what results show, and two conditions that make searching cheap: Local, when the spans that match
// can be told one by one, and Anchor, which at least one span of every matching trace satisfies.
//
// Some conditions are rewritten, never with another outcome: constants are folded, == chains become lists, tests are
// ordered from cheap and selective to expensive. nestedSetParent < 0, which is how clients ask for root spans, implies
// that the span has no parent, which a store knows without the rest of the trace.
//
// Plans know nothing of stores (architecture 1.5): package exec translates tests to store.Predicate. Plans are
// immutable and safe for concurrent use.
package plan
