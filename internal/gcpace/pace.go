package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// usual is Go's own percentage, which is never exceeded.
	usual = 100
	// least bounds how often a large heap is collected: a collection costs as much as is live, and queries over much make
	// garbage quickly.
	least = 50
	// step is the change of the percentage that is worth stopping the world for.
	step = 5
)

// liveMetric is what the last collection found live, see runtime/metrics.
const liveMetric = "/gc/heap/live:bytes"

// percent returns how much garbage, in percent of what is live, is at most room bytes.
func percent(live, room uint64) int {
	if live <= room {
		return usual
	}
	return max(least, int(room*usual/live)) //nolint:gosec // below usual
}

// pace sets the percentage after each collection.
type pace struct {
	room uint64

	mu      sync.Mutex // guards what follows
	now     int
	stopped bool
}

// beacon is garbage from the beginning: that it is collected says that a collection has ended.
type beacon struct{ _ *byte }

// Start bounds the garbage to about room bytes, or half of what is live if that is more, until stop is called, which
// sets what was before. With the environment variable GOGC, with which the user has chosen, it does nothing.
func Start(room uint64) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pace{room: room, now: usual}
	before := debug.SetGCPercent(usual)
	p.light()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stopped = true
		debug.SetGCPercent(before)
	})
}

func (p *pace) light() { runtime.SetFinalizer(&beacon{new(byte)}, func(*beacon) { p.collected() }) }

// collected is called after a collection.
func (p *pace) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	sample := []metrics.Sample{{Name: liveMetric}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return // This version of Go does not tell: its own percentage stays.
	}
	next := percent(sample[0].Value.Uint64(), p.room)
	if next-p.now >= step || p.now-next >= step || next == usual && p.now != usual {
		debug.SetGCPercent(next)
		p.now = next
	}
	p.light()
}
