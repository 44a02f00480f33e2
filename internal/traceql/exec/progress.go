package exec

import "sort"

// SearchProgress lets the caller of Search have results while the search goes on.
type SearchProgress struct {
	// Due says whether a report is wanted now. It is asked often.
	Due func() bool
	// Report gets the traces that are settled and were not reported before, newest first: each will be in the result as
	// it is here. done of total granules were looked at. An error ends the search.
	Report func(settled []TraceRow, s Stats, done, total int) error
}

// report tells of what is settled: those of the best that start after rest, at or before which all traces start that were
// not evaluated.
func (s *search) report(rest int64) error {
	p := s.options.Progress
	if p == nil || !p.Due() {
		return nil
	}
	best := s.best[s.told:]
	n := sort.Search(len(best), func(i int) bool { return clampInt(best[i].start) <= rest })
	rows, err := s.rows(best[:n])
	if err != nil {
		return err
	}
	s.told += n
	return p.Report(rows, s.run.stats(), min(s.done, s.total-1), s.total)
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
