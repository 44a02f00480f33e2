// Package tracestoreextension owns the lifetime of one trace store. Other components name it in their `store`
// setting and find it through the host; it finds nothing itself.
//
// The store outlives a configuration reload: Shutdown gives its handle back to internal/procstate, and the extension
// that the next configuration creates for the same directory takes it over, open as it was.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package tracestoreextension
