// Package telemetry is the Collector's own telemetry factory with one difference: when no trace processors are
// configured, the process still records a few of its own spans, so that the zPages extension has something to show
// under /debug/tracez. With the stock factory that page is a 404 by default.
//
// Nothing is exported and nothing is kept beyond the page's own small buffers. At most SpansPerSecond spans are
// recorded, whatever the load, so the cost does not grow with it.
package telemetry
