// Package canary shows that what the shipped configuration is to keep out stays out: its test plants thousands of
// secrets in every place of a trace and sends them in every encoding of OTLP to the built binary, and afterwards finds
// none of them in anything the process has written or answered. A control run, which only reports, finds all of them
// in the same places by the same search.
package canary
