// Package storetest is the conformance suite of package store: every implementation runs it, as
//
//	storetest.Run(t, func(t testing.TB) store.Store { return open(t) })
//
// with a function that returns an empty store and registers its own cleanup. The suite compares each part with what the
// part itself returns as whole spans, evaluated by oracle.ValuesOf and Predicate.MatchSpan, and all parts together with
// what was appended. It therefore depends neither on the order of rows nor on how parts are cut.
//
// Beyond the words of package store it asks that
//
//   - of a key given twice the first value counts, and duplicates of a key come back in their order;
//   - a batch is visible as a whole or not at all, also to a view that is acquired while it is appended;
//   - a granule or row that a part does not have is an error, and a column that does not exist is ErrUnsupported.
//
// Random tests print their seed when they fail; BRAMBLE_SEED runs one seed again, BRAMBLE_FULL=1 runs many.
package storetest
