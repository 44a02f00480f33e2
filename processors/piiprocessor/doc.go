// Package piiprocessor removes secrets and personal data from spans before anything stores them. It walks every place of
// a trace in which text can hide and lets internal/pii decide: resource, scope, span, event and link attributes with
// nested values, span names, status messages, event names and tracestate.
//
// Rules are compiled when the processor starts. With rules_file they come from a file whose content is compared each
// second; rules that cannot be used are refused and the old ones stay. A batch is judged with one set of rules.
//
// The rules are an atomic pointer; walkers come from a pool and belong to one batch at a time. Counts go to the
// Collector's metrics and to the process's pii.Board. The goroutine that watches the file is started by Start and ends
// before Shutdown returns.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package piiprocessor
