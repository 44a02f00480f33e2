// Package tracemetricsconnector makes RED metrics and a service graph of spans, with the names and labels that Grafana and
// users of Tempo expect. The work is done in internal/tracemetrics; this package is what makes it a connector.
//
// With a store (the default) it counts what the store has accepted, by observing it, and ignores what the pipeline brings:
// a pipeline's fan-out calls every consumer whatever the others answer, so a batch that the store refused and the client
// sent again would be counted twice. With `store: ""` it counts what the pipeline brings.
//
// What is accumulated outlives a reload of the configuration through internal/procstate, by the connector's id.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package tracemetricsconnector
