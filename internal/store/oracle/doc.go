// Package oracle is the plainest implementation of package store that can be right: rows in a slice, every question
// answered by looking at each of them. Tests compare the engine with it, and tests of query code use it as a store.
// It must never be clever; what is fast is not checked here.
//
// ValuesOf is the reference for what a column holds. Where the contract leaves a choice the oracle takes one, and
// storetest does not ask others to take the same: which of two copies of a span Trace returns (the first appended),
// how much a trace weighs against maxBytes, and how rows are cut into parts.
//
// New takes the number of rows per part, so that traces get split over parts. Parts are cut in the order of appends.
// Parts with an odd number answer Read with dictionaries, the others with plain values, so that readers meet every
// form of store.Vector.
//
// One mutex guards the rows; views are immutable and need none.
package oracle
