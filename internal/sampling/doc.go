// Package sampling compiles tail sampling policies into a store.Decider: which of the traces that leave the recent
// window are kept.
//
// Policies have the names, fields and meaning of those of the Collector's tail_sampling processor (contrib), and two
// more: traceql and min_per_service. They are evaluated over store.View column by column: trace ids say which trace a
// row belongs to, and each test reads its own column and marks the traces it holds for. Whole spans are decoded only for
// bytes_limiting, and only of parts that do not know the sizes of spans (store.Sizer): heads.
//
// # What decisions depend on
//
// On the stored spans and nothing else, so that a decision that a crash undid comes out the same, and so that a
// preview says what will happen. Budgets (rate_limiting, bytes_limiting, composite) are therefore not those of a moment
// but of each second in which traces start: all stored traces that start in the second, decided or not, are taken in
// the order of a hash of their ids while there is room. A trace that is refused uses nothing up, and so the outcome is
// the same when it has been dropped before its neighbours are asked about. That is why a budget cannot stand inside of
// not and drop, where what is not kept would use it up.
//
// min_per_service keeps the traces of a service that come first in the same order, in each window of time.
//
// # Concurrency
//
// Policies are immutable but for a cache with its own lock; everything that one evaluation needs is in a scan, which
// belongs to the call. Views are used, not released.
package sampling
