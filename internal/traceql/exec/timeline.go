package exec

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Timeline is the buckets of a metrics query. Bucket i holds span starts in (Start+i*Step, Start+(i+1)*Step] and is
// reported at its end. An instant query has one bucket that takes in both ends.
type Timeline struct {
	Start   int64 // Unix nanoseconds.
	Step    int64 // Nanoseconds.
	N       int
	Instant bool
}

// maxPoints bounds the number of buckets; the API has a lower limit of its own (M-04).
const maxPoints = 20_000

// NewTimeline aligns a range to the step: the start is rounded down to a multiple and moved one step back, so that the
// first sample stands at the rounded start; the end is rounded up. Times are Unix nanoseconds.
func NewTimeline(start, end int64, step time.Duration, instant bool) (Timeline, error) {
	if start < 0 || end < start {
		return Timeline{}, fmt.Errorf("metrics range from %d to %d: the end must not be before the start", start, end)
	}
	if instant {
		return Timeline{Start: start, Step: end - start, N: 1, Instant: true}, nil
	}
	if step <= 0 {
		return Timeline{}, errors.New("the step of a metrics query must be above 0")
	}
	s := int64(step)
	t := Timeline{Start: start/s*s - s, Step: s}
	last := end / s * s
	if last < end {
		last += s
	}
	n := (last - t.Start) / s
	if n > maxPoints {
		return Timeline{}, fmt.Errorf("a step of %s gives %d points, more than %d: use a larger step", step, n, maxPoints)
	}
	t.N = int(n)
	return t, nil
}

// bucket returns the bucket of a time, -1 outside.
func (t *Timeline) bucket(at int64) int {
	if t.Instant {
		if at < t.Start || at > t.Start+t.Step {
			return -1
		}
		return 0
	}
	if at <= t.Start {
		return -1
	}
	if i := (at - t.Start - 1) / t.Step; i < int64(t.N) {
		return int(i)
	}
	return -1
}

// window returns the times that count: the first and last nanosecond.
func (t *Timeline) window() window {
	end := t.Start + t.Step*int64(t.N)
	if t.Instant {
		return window{max(t.Start, 0), end}
	}
	return window{max(t.Start+1, 0), end}
}

// millis returns the time of a bucket's sample.
func (t *Timeline) millis(i int) int64 { return (t.Start + int64(i+1)*t.Step) / 1e6 }

// seconds is what rate divides by: for an instant query of a single moment the shortest time there is.
func (t *Timeline) seconds() float64 { return float64(max(t.Step, 1)) / float64(time.Second) }

// DefaultStep returns the step of a range whose request gives none (contract 6.4): about 240 points.
func DefaultStep(r time.Duration) time.Duration {
	const points = 240
	want := r / points
	if r < time.Minute {
		const unit = 50 * time.Millisecond
		return max(unit, roundDown(want, unit))
	}
	for _, unit := range []time.Duration{time.Hour, 5 * time.Minute, time.Minute, 15 * time.Second, 5 * time.Second} {
		if unit < want || unit == want {
			return roundDown(want, unit)
		}
	}
	return max(time.Second, roundDown(want, time.Second))
}

func roundDown(d, unit time.Duration) time.Duration { return d / unit * unit }

// absent marks a bucket without a value.
var absent = math.NaN()
