// Package gcpace bounds how much garbage Go lets pile up before it collects.
//
// Ordinarily that is as much as was live after the last collection (GOGC=100), so that a heap takes twice what it holds.
// A trace store holds much for short times: while a head is written as a block, the head, the next one and the columns
// being encoded are there together. Twice that sum is what the process then takes from the machine, though the garbage
// of receiving spans, which is what is collected, grows no faster than before. With a bound on the garbage the peak is the
// live heap and the bound. It costs collections at the peak and none at other times: a heap that is smaller than the
// bound is collected as ever.
//
// After each collection the percentage is set anew from what was found live. This composes with Go's memory limit, which
// lowers what the percentage allows near the limit and is not changed here.
//
// The percentage belongs to the process: only programs start it, once, and none does if GOGC is set.
package gcpace
