package harness

import (
	"context"
	"testing"
	"time"
)

// pollEvery is the time between two looks of Poll.
const pollEvery = 5 * time.Millisecond

// Poll calls done until it returns nil, and ends the test when that takes longer than timeout: what says what was
// waited for, and the last error why it did not come.
func Poll(tb testing.TB, timeout time.Duration, what string, done func() error) {
	tb.Helper()
	if err := poll(tb.Context(), timeout, done); err != nil {
		tb.Fatalf("waited %s for %s: %v", timeout, what, err)
	}
}

func poll(ctx context.Context, timeout time.Duration, done func() error) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
