// Package tailsamplingprocessor is tail sampling in two forms. With `store` the policies become a retention decision of
// the trace store (internal/sampling, store.Decider): spans pass straight through, synchronously, and nothing is held.
// Without it contrib's processor does the work, unchanged, through its factory; that is for pipelines to other backends.
//
// In store mode the policies are an atomic pointer, replaced when the content of policies_file changes; content that
// cannot be used is refused and the old policies stay. A decision is made with one set of policies. The goroutine that
// watches the file is started by Start and ends before Shutdown returns; so does a running decision.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package tailsamplingprocessor
