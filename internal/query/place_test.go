package query

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLendPlace: who waits for others keeps nobody from running, and counts until it has left.
func TestLendPlace(t *testing.T) {
	a := newAdmission(1, 10)
	require.NoError(t, a.acquire(t.Context(), "x"))
	p := &place{in: a, client: "x"}
	require.NoError(t, p.lend(t.Context(), func(ctx context.Context) error {
		require.NoError(t, a.acquire(ctx, "y"), "the place is free meanwhile")
		a.leave("y")
		return nil
	}))
	active, _ := a.load()
	require.Equal(t, 1, active, "it has a place again")

	failed := errors.New("no more")
	require.ErrorIs(t, p.lend(t.Context(), func(context.Context) error { return failed }), failed)
	active, _ = a.load()
	require.Zero(t, active)
	idle := a.close()
	select {
	case <-idle:
		t.Error("what it reads is still in use")
	default:
	}
	p.leave()
	<-idle
}

// TestLendUntilClosed: a search that waits for others does not keep a service from stopping.
func TestLendUntilClosed(t *testing.T) {
	a := newAdmission(1, 10)
	require.NoError(t, a.acquire(t.Context(), "x"))
	p := &place{in: a, client: "x"}
	waits := make(chan struct{})
	ended := make(chan error)
	go func() {
		err := p.lend(t.Context(), func(ctx context.Context) error {
			close(waits)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		p.leave()
		ended <- err
	}()
	<-waits
	idle := a.close()
	require.ErrorIs(t, <-ended, ErrClosing)
	<-idle
}

// TestLendTurn: peers that wait let others have their turn, and all are asked though only few may be at work.
func TestLendTurn(t *testing.T) {
	f := &fan{federation: Federation{Parallel: 2}}
	for range 9 {
		f.nodes = append(f.nodes, &fanNode{})
	}
	var (
		waiting sync.WaitGroup // All peers wait for each other.
		working atomic.Int32
	)
	waiting.Add(8)
	f.ask(func() {}, func(_ int, own *turn) {
		assert.LessOrEqual(t, working.Add(1), int32(2))
		working.Add(-1)
		assert.NoError(t, own.lend(func() error {
			waiting.Done()
			waiting.Wait()
			return nil
		}))
		assert.LessOrEqual(t, working.Add(1), int32(2))
		working.Add(-1)
	})
}
