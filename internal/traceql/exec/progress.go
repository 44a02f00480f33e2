package exec

import (
	"sort"

	"github.com/bramble-tracing/bramble/internal/store"
)

// SearchProgress lets the caller of Search have results while the search goes on.
type SearchProgress struct {
	// Due says whether a report is wanted now. It is asked often.
	Due func() bool
	// Report gets the traces that are settled and were not reported before, newest first: each will be in the result as
	// it is here. done of total granules were looked at. An error ends the search.
	Report func(settled []TraceRow, s Stats, done, total int) error
}

// report tells of what is settled: those of the best that no span in the granules that are left can push out. A trace
// starts no later than any of its spans, so they are those that started after all of these.
func (s *search) report(left []spot, total int) error {
	p := s.options.Progress
	if p == nil || len(left) == total || !p.Due() {
		return nil
	}
	rest := s.best[s.told:]
	n := sort.Search(len(rest), func(i int) bool { return s.mayHoldNewer(left, clampInt(rest[i].start)) })
	rows, err := s.rows(rest[:n])
	if err != nil {
		return err
	}
	s.told += n
	return p.Report(rows, s.run.stats(), total-len(left), total)
}

// mayHoldNewer reports whether a span in one of the granules may have started at t or later.
func (s *search) mayHoldNewer(left []spot, t int64) bool {
	later := compareTime(store.SpanStart, store.OpGe, t)
	for _, at := range left {
		if s.run.parts[at.part].MayMatch(at.granule, later) {
			return true
		}
	}
	return false
}

// Slice is some buckets of a timeline, from From up to but not including To. The zero value is all of them.
type Slice struct{ From, To int }

// Slices cuts a timeline into n slices of about the same length, latest first. Sums over them, merged, are the sums
// over all.
func (t *Timeline) Slices(n int) []Slice {
	n = max(1, min(n, t.N))
	out := make([]Slice, n)
	for i := range out {
		out[n-1-i] = Slice{i * t.N / n, (i + 1) * t.N / n}
	}
	return out
}

// Millis returns the time of a bucket's sample in Unix milliseconds.
func (t *Timeline) Millis(bucket int) int64 { return t.millis(bucket) }

// slice returns the times that count in a slice.
func (t *Timeline) slice(s Slice) window {
	if s == (Slice{}) || t.Instant {
		return t.window()
	}
	return window{max(t.Start+int64(s.From)*t.Step+1, 0), t.Start + int64(s.To)*t.Step}
}
