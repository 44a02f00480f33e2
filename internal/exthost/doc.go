// Package exthost finds the extension that a component names in its configuration (`store: trace_store`) and checks
// that it can do what the component needs.
//
// The Collector starts extensions in random order unless one declares its Dependencies: an extension that looks up
// another must list that id there, or it may find the other one not started. Exporters, processors and connectors
// start after all extensions.
//
// Errors are written for the person who edits the configuration: they say what is missing and what to add. The
// package keeps no state.
package exthost
