// Package testkit makes spans for tests and benchmarks. It holds two generators, both deterministic: the same seed gives
// the same spans on every machine and in every run.
//
// Generator makes the reference workload that the project's benchmarks quote: a web shop of 15 services in 12 pods on 4
// nodes, whole traces of 8 to 60 spans (median about 21) with semantic-convention attributes, about 415 OTLP bytes a
// span, 2 % errors and 2.7 % of spans longer than a second. TestReferenceWorkload holds it to these numbers; a change to
// them makes old benchmark results incomparable.
//
// Nasty makes what a store must survive: every value type and depth, clashing and duplicate keys, odd times, orphans,
// cycles and duplicate ids. Its keys and values come from small pools, so that random predicates find something.
//
// All names and addresses are invented; addresses are from the documentation ranges (RFC 5737).
package testkit
