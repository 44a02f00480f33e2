package main

import (
	"fmt"
	"slices"
	"time"
)

// kind is one of the figures of a run that can be compared between runs.
type kind int

const (
	readyAfter kind = iota
	idleMiB
	spansPerSecond
	cpuLoad
	cpuSettled
	peakMiB
	settledMiB
	bytesPerSpan
	ackP50
	ackP99
	freshP50
	freshP99
	exitAfter
	kinds
)

// named has the names and units of the figures, and their decimals.
var named = [kinds]struct {
	name     string
	decimals int
}{
	readyAfter: {"ready after, s", 2}, idleMiB: {"resident then, MiB", 0},
	spansPerSecond: {"acknowledged spans/s", 0},
	cpuLoad:        {"CPU-s per million, load", 2}, cpuSettled: {"CPU-s per million, settled", 2},
	peakMiB: {"peak resident, MiB", 0}, settledMiB: {"resident settled, MiB", 0}, bytesPerSpan: {"disk, B/span", 1},
	ackP50: {"acknowledgement p50, ms", 1}, ackP99: {"acknowledgement p99, ms", 1},
	freshP50: {"write to readable p50, ms", 1}, freshP99: {"write to readable p99, ms", 1},
	exitAfter: {"SIGTERM to exit, s", 2},
}

// figures are what one run gave.
type figures struct {
	spans, bytesSent int64
	took, waited     time.Duration
	probes, lost     int // freshness probes, and how many of them found nothing within five seconds
	values           [kinds]float64
}

// has tells whether the run gave a figure: without a query endpoint there are no probes.
func (f *figures) has(k kind) bool { return f.probes > 0 || k != freshP50 && k != freshP99 }

func (f *figures) print() {
	fmt.Printf("sent %d spans of %d bytes in %.1f s, idle after another %.0f s; %d freshness probes, %d found nothing\n",
		f.spans, f.bytesSent, f.took.Seconds(), f.waited.Seconds(), f.probes, f.lost)
	for k := range kinds {
		if f.has(k) {
			fmt.Printf("  %-28s %10.*f\n", named[k].name, named[k].decimals, f.values[k])
		}
	}
}

// printMedians prints each figure's median over the runs, with the least and the most.
func printMedians(runs []figures) {
	lost := 0
	for _, r := range runs {
		lost += r.lost
	}
	for k := range kinds {
		if !runs[0].has(k) {
			continue
		}
		v := make([]float64, len(runs))
		for i, r := range runs {
			v[i] = r.values[k]
		}
		low, median, high := spread(v)
		d := named[k].decimals
		fmt.Printf("  %-28s %10.*f  (%.*f - %.*f)\n", named[k].name, d, median, d, low, d, high)
	}
	if lost > 0 {
		fmt.Printf("  %d freshness probes found nothing within five seconds\n", lost)
	}
}

// spread returns the least, the median and the greatest of some values; with an even number of them the median is the mean of the two in
// the middle. It sorts v, which must not be empty.
func spread(v []float64) (low, median, high float64) {
	slices.Sort(v)
	n := len(v)
	return v[0], (v[(n-1)/2] + v[n/2]) / 2, v[n-1]
}
