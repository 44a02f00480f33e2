package query

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestClientsTakeTurns: one who asks for a lot does not make others wait for all of it.
func TestClientsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 100)
		require.NoError(t, a.acquire(t.Context(), "holder"))
		var (
			mu    sync.Mutex
			order []string
			wg    sync.WaitGroup
		)
		ask := func(client string, n int) {
			for range n {
				wg.Go(func() {
					if err := a.acquire(t.Context(), client); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					order = append(order, client)
					mu.Unlock()
					a.leave()
				})
				synctest.Wait()
			}
		}
		ask("greedy", 5)
		ask("modest", 2)
		ask("late", 1)
		a.leave()
		wg.Wait()
		require.Equal(t, []string{"greedy", "modest", "late", "greedy", "modest", "greedy", "greedy", "greedy"}, order)
		active, waiting := a.load()
		require.Zero(t, active)
		require.Zero(t, waiting)
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 2)
		require.NoError(t, a.acquire(t.Context(), "x"))
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- a.acquire(t.Context(), "x") }()
		}
		synctest.Wait()
		require.ErrorIs(t, a.acquire(t.Context(), "y"), ErrOverloaded)
		for range 2 {
			a.leave()
			require.NoError(t, <-errs)
		}
		a.leave()
		require.NoError(t, a.acquire(t.Context(), "y"))
	})
}

// TestGivingUp: a client that goes away while it waits leaves no trace, and a place that it was just given is not lost.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 10)
		require.NoError(t, a.acquire(t.Context(), "x"))
		gone := errors.New("client went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 1)
		go func() { errs <- a.acquire(ctx, "y") }()
		synctest.Wait()
		cancel(gone)
		require.ErrorIs(t, <-errs, gone)
		_, waiting := a.load()
		require.Zero(t, waiting)
		require.Empty(t, a.queues)
		require.Empty(t, a.turn)
		a.leave()
		require.NoError(t, a.acquire(t.Context(), "z"))
		require.ErrorIs(t, a.acquire(ctx, "y"), gone, "an ended context is not admitted")
	})
}

func TestCloseAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 10)
		require.NoError(t, a.acquire(t.Context(), "x"))
		errs := make(chan error, 1)
		go func() { errs <- a.acquire(t.Context(), "y") }()
		synctest.Wait()
		idle := a.close()
		require.ErrorIs(t, <-errs, ErrClosing)
		require.ErrorIs(t, a.acquire(t.Context(), "z"), ErrClosing)
		select {
		case <-idle:
			t.Fatal("x still runs")
		default:
		}
		a.leave()
		<-idle
		<-a.close()
	})
}

// TestAdmissionRandom runs many clients that come, give up and go, and checks that the bound holds and nothing is lost.
func TestAdmissionRandom(t *testing.T) {
	const most = 3
	a := newAdmission(most, 1000)
	var running, peak, admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for j := range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%3 == 0 {
					go cancel()
				}
				if a.acquire(ctx, strconv.Itoa(i%7)) == nil {
					n := running.Add(1)
					for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
					}
					admitted.Add(1)
					running.Add(-1)
					a.leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, peak.Load(), int64(most))
	require.Greater(t, admitted.Load(), int64(2000))
	active, waiting := a.load()
	require.Zero(t, active)
	require.Zero(t, waiting)
	require.Empty(t, a.queues)
}
