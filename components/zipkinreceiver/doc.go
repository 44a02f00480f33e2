// Package zipkinreceiver is the Collector's zipkin receiver on a port that stays open while the configuration is reloaded
// (keptport.ServeHTTP). Type and configuration are contrib's, and so is the translation of spans.
//
// Contrib's receiver closes its port at each reload, and Zipkin's clients do not send again. It decodes what it has read of
// a body that was cut off, and it takes memory for as many annotations as a Thrift message claims to hold. Here a body is
// read to its end before anything else happens, and the sizes that Thrift claims are checked against its size.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package zipkinreceiver
