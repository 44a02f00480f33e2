package memlimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/memlimit"
)

func TestAcquireWithinLimit(t *testing.T) {
	b := memlimit.New("head", 100)
	require.NoError(t, b.Acquire(t.Context(), 60))
	require.NoError(t, b.Acquire(t.Context(), 40))
	assert.False(t, b.TryAcquire(1))
	b.Release(10)
	assert.True(t, b.TryAcquire(10))
	assert.Equal(t, memlimit.Usage{Limit: 100, Used: 100, Peak: 100}, b.Usage())
}

func TestAcquireMoreThanLimitFailsAtOnce(t *testing.T) {
	b := memlimit.New("head", 100)
	err := b.Acquire(t.Context(), 101)
	require.ErrorIs(t, err, memlimit.ErrTooLarge)
	require.ErrorContains(t, err, "head budget of 100")
	assert.Zero(t, b.Usage().Used)
}

func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memlimit.New("head", 100)
		require.NoError(t, b.Acquire(t.Context(), 100))
		var order []int64
		var mu sync.Mutex
		for _, n := range []int64{90, 5, 6} {
			go func() {
				assert.NoError(t, b.Acquire(t.Context(), n))
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		assert.Equal(t, memlimit.Usage{Limit: 100, Used: 100, Peak: 100, Waiting: 101, Waiters: 3}, b.Usage())
		b.Release(50) // enough for the small ones, which must not overtake
		synctest.Wait()
		assert.Empty(t, order)
		b.Release(40)
		synctest.Wait()
		assert.Equal(t, []int64{90}, order)
		b.Release(95)
		synctest.Wait()
		assert.ElementsMatch(t, []int64{90, 5, 6}, order)
		assert.Equal(t, int64(16), b.Usage().Used)
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memlimit.New("head", 100)
		b.Force(130)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- b.Acquire(t.Context(), 20) }()
		synctest.Wait()
		require.ErrorIs(t, b.Acquire(ctx, 50), context.DeadlineExceeded)
		assert.Equal(t, int64(20), b.Usage().Waiting)
		b.Release(50)
		require.NoError(t, <-done)
		assert.Equal(t, int64(100), b.Usage().Used)
	})
}

func TestShareTakesFromParent(t *testing.T) {
	root := memlimit.New("memory", 100)
	a, b := root.Share("a", 70), root.Share("b", 70)
	require.NoError(t, a.Acquire(t.Context(), 70))
	require.ErrorIs(t, a.Acquire(t.Context(), 71), memlimit.ErrTooLarge)
	assert.True(t, b.TryAcquire(30))
	assert.False(t, b.TryAcquire(1), "the parent is exhausted")
	assert.Equal(t, int64(30), b.Usage().Used, "a refused request leaves no trace")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Acquire(ctx, 1), context.Canceled)
	assert.Equal(t, int64(30), b.Usage().Used)
	a.Release(70)
	assert.Equal(t, int64(30), root.Usage().Used)
	assert.Equal(t, int64(100), root.Share("c", 1000).Limit())
}

// TestConcurrentUseStaysWithinLimit counts what is really held and compares it with the limit.
func TestConcurrentUseStaysWithinLimit(t *testing.T) {
	root := memlimit.New("memory", 1000)
	shares := []*memlimit.Budget{root.Share("a", 800), root.Share("b", 600)}
	var held, maxHeld atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for range 500 {
				n := 1 + rnd.Int64N(400)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(200))*time.Microsecond)
				s := shares[rnd.IntN(2)]
				if s.Acquire(ctx, n) == nil {
					h := held.Add(n)
					for m := maxHeld.Load(); h > m && !maxHeld.CompareAndSwap(m, h); m = maxHeld.Load() {
					}
					held.Add(-n)
					s.Release(n)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, maxHeld.Load(), int64(1000))
	for _, b := range append(shares, root) {
		u := b.Usage()
		assert.Zero(t, u.Used)
		assert.Zero(t, u.Waiting)
		assert.Zero(t, u.Waiters)
	}
}
