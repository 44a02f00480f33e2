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
					a.leave(client)
				})
				synctest.Wait()
			}
		}
		ask("greedy", 5)
		ask("modest", 2)
		ask("late", 1)
		a.leave("holder")
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
		require.ErrorIs(t, a.acquire(t.Context(), "x"), ErrOverloaded)
		for range 2 {
			a.leave("x")
			require.NoError(t, <-errs)
		}
		a.leave("x")
		require.NoError(t, a.acquire(t.Context(), "y"))
	})
}

// TestFullQueue: who fills the queue is refused, and not who comes next, as long as that one has less waiting.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 4)
		require.NoError(t, a.acquire(t.Context(), "holder"))
		type outcome struct {
			client string
			err    error
		}
		done := make(chan outcome, 10)
		ask := func(client string) {
			go func() { done <- outcome{client, a.acquire(t.Context(), client)} }()
			synctest.Wait()
		}
		for i := range 4 {
			ask("greedy\x00name " + strconv.Itoa(i)) // With a new name each time.
		}
		ask("modest")
		require.Equal(t, ErrOverloaded, (<-done).err)
		ask("modest") // Now two each.
		require.Equal(t, ErrOverloaded, (<-done).err)
		ask("modest")
		require.Equal(t, outcome{"modest", ErrOverloaded}, <-done)
		_, waiting := a.load()
		require.Equal(t, 4, waiting)
		a.leave("holder")
		var order []string
		for range 4 {
			o := <-done
			require.NoError(t, o.err)
			order = append(order, addressOf(o.client))
			a.leave(o.client)
		}
		require.Equal(t, []string{"greedy", "modest", "greedy", "modest"}, order)
		require.Empty(t, a.turn)
		require.Empty(t, a.queues)
	})
}

// TestAddressesTakeTurns: an address gets no more by many names, and its own clients take turns, too.
func TestAddressesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, 100)
		require.NoError(t, a.acquire(t.Context(), "holder"))
		var (
			order []string
			mu    sync.Mutex
			wg    sync.WaitGroup
		)
		for _, client := range []string{"g\x00ann", "g\x00ann", "g\x00bob", "g\x00cid", "script"} {
			wg.Go(func() {
				if err := a.acquire(t.Context(), client); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, client)
				mu.Unlock()
				a.leave(client)
			})
			synctest.Wait()
		}
		a.leave("holder")
		wg.Wait()
		require.Equal(t, []string{"g\x00ann", "script", "g\x00bob", "g\x00cid", "g\x00ann"}, order)
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
		a.leave("x")
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
		a.leave("x")
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
				client := strconv.Itoa(i % 7)
				if a.acquire(ctx, client) == nil {
					n := running.Add(1)
					for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
					}
					admitted.Add(1)
					running.Add(-1)
					a.leave(client)
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
	require.Empty(t, a.has)
}

// TestOnePlaceIsForOthers: a client with long queries does not keep the last place from others.
func TestOnePlaceIsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(3, 10)
		require.NoError(t, a.acquire(t.Context(), "heavy"))
		require.NoError(t, a.acquire(t.Context(), "heavy"))
		waits := make(chan error, 1)
		go func() { waits <- a.acquire(t.Context(), "heavy") }()
		synctest.Wait()
		require.Empty(t, waits)
		require.NoError(t, a.acquire(t.Context(), "light"), "the place is free for another")
		go func() { waits <- a.acquire(t.Context(), "light") }()
		synctest.Wait()
		a.leave("light") // Its own next query gets it: heavy has as many as it may.
		require.NoError(t, <-waits)
		a.leave("light")
		synctest.Wait()
		require.Empty(t, waits, "heavy still waits for itself")
		a.leave("heavy")
		require.NoError(t, <-waits)
		a.leave("heavy")
		a.leave("heavy")
		active, waiting := a.load()
		require.Zero(t, active)
		require.Zero(t, waiting)
	})
}
