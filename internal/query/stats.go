package query

import (
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// Stats says what a query looked at, for the metrics of answers.
type Stats struct {
	Traces, Spans, Bytes uint64
	// Completed of Jobs pieces of work are done. They are equal in a complete answer, and never 0 in it, so that
	// progress bars have something to divide by.
	Completed, Jobs uint32
	// Missing says why an answer cannot be complete: what of the store is damaged. It counts as a job that is not done.
	Missing string
}

// without notes what the answer does without, if anything.
func (s *Stats) without(missing string) {
	if missing != "" {
		s.Missing = missing
		s.Jobs++
	}
}

func statsOf(s exec.Stats) Stats {
	return Stats{
		Traces: uint64(max(0, s.Traces)), Spans: uint64(max(0, s.Spans)), Bytes: uint64(max(0, s.Bytes)),
		Completed: 1, Jobs: 1,
	}
}

// pace says when the next interim answer may be sent.
type pace struct {
	every time.Duration
	last  time.Time
}

func newPace(every time.Duration) *pace { return &pace{every: every, last: time.Now()} }

// due reports whether the interval is over, and begins the next one if it is.
func (p *pace) due() bool {
	now := time.Now()
	if now.Sub(p.last) < p.every {
		return false
	}
	p.last = now
	return true
}
