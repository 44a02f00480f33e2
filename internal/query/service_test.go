package query

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

func filled(t *testing.T, spans int) *oracle.Store {
	t.Helper()
	s := oracle.New(4)
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for i := range spans {
		b.Spans = append(b.Spans, store.Span{TraceID: spanid.TraceID{1}, SpanID: spanid.SpanID{byte(i + 1)}, Name: "a name of some length"})
	}
	require.NoError(t, s.Append(t.Context(), b))
	return s
}

func TestTrace(t *testing.T) {
	s := New(filled(t, 10), Limits{})
	var got int
	require.NoError(t, s.Trace(t.Context(), TraceRequest{ID: spanid.TraceID{1}}, func(tr *store.Trace) error {
		got = len(tr.Spans)
		require.Empty(t, tr.Partial)
		return nil
	}))
	require.Equal(t, 10, got)

	called := false
	require.NoError(t, s.Trace(t.Context(), TraceRequest{ID: spanid.TraceID{2}}, func(tr *store.Trace) error {
		called = true
		require.Nil(t, tr)
		return nil
	}))
	require.True(t, called)
}

func TestTraceIsCut(t *testing.T) { // T-03
	s := New(filled(t, 10), Limits{MaxTraceBytes: 300})
	require.NoError(t, s.Trace(t.Context(), TraceRequest{ID: spanid.TraceID{1}}, func(tr *store.Trace) error {
		require.NotEmpty(t, tr.Partial)
		require.Less(t, len(tr.Spans), 10)
		return nil
	}))
}

func TestErrorsOfTheUsePassThrough(t *testing.T) {
	s := New(filled(t, 1), Limits{})
	want := errors.New("cannot encode")
	require.ErrorIs(t, s.Trace(t.Context(), TraceRequest{ID: spanid.TraceID{1}}, func(*store.Trace) error { return want }), want)
	require.Zero(t, s.Load())
}

func TestClosedStore(t *testing.T) {
	o := filled(t, 1)
	require.NoError(t, o.Close())
	err := New(o, Limits{}).Trace(t.Context(), TraceRequest{}, func(*store.Trace) error { return nil })
	require.ErrorIs(t, err, store.ErrClosed)
	require.Equal(t, KindUnavailable, KindOf(err))
}

// endless is a store whose views' traces take until they are cancelled.
type endless struct{ store.Store }

type endlessView struct{ store.View }

func (e endless) View() (store.View, error) {
	v, err := e.Store.View()
	return endlessView{v}, err
}

func (endlessView) Trace(ctx context.Context, _ spanid.TraceID, _ int64) (*store.Trace, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("read block: %w", ctx.Err())
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(endless{filled(t, 1)}, Limits{Timeout: 3 * time.Second})
		began := time.Now()
		err := s.Trace(t.Context(), TraceRequest{}, nil)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, KindTimeout, KindOf(err))
		require.ErrorContains(t, err, "3s")
	})
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := New(filled(t, 1), Limits{}).Trace(ctx, TraceRequest{}, nil)
	require.Equal(t, KindCanceled, KindOf(err))
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(endless{filled(t, 1)}, Limits{Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 1)
		go func() { errs <- s.Trace(ctx, TraceRequest{}, nil) }()
		synctest.Wait()
		short, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		require.ErrorContains(t, s.Drain(short), "1 running")
		require.ErrorIs(t, s.Trace(t.Context(), TraceRequest{}, nil), ErrClosing)
		cancel()
		require.NoError(t, s.Drain(t.Context()))
		require.Error(t, <-errs)
	})
}

// TestAnswersAreBounded: an answer that does not fit into the query's memory is refused, and its bytes are given back.
func TestAnswersAreBounded(t *testing.T) {
	s := New(filled(t, 100), Limits{QueryMemory: 40_000})
	ask := func(spss int) error {
		_, err := s.Search(t.Context(), SearchRequest{Query: "{ } | select(name)", StartNano: 0, EndNano: 1 << 62, Limit: 10, SpansPerSpanSet: spss})
		return err
	}
	require.NoError(t, ask(1))
	err := ask(100)
	require.ErrorIs(t, err, exec.ErrBudget)
	require.Equal(t, KindOverloaded, KindOf(err))
	require.NoError(t, ask(1))
	require.Zero(t, s.memory.Usage().Used)
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Kind
	}{
		{errors.New("disk on fire"), KindInternal},
		{fmt.Errorf("search: %w", Invalidf("no such %s", "thing")), KindInvalid},
		{&InvalidError{Reason: "invalid TraceQL query", Err: errors.New("x")}, KindInvalid},
		{fmt.Errorf("x: %w", store.ErrNotFound), KindNotFound},
		{fmt.Errorf("x: %w", store.ErrUnsupported), KindUnsupported},
		{ErrOverloaded, KindOverloaded},
		{ErrClosing, KindUnavailable},
		{context.DeadlineExceeded, KindTimeout},
		{context.Canceled, KindCanceled},
		{&store.CorruptionError{Path: "x", Err: errors.New("crc")}, KindInternal},
	} {
		require.Equal(t, tt.want, KindOf(tt.err), "%v", tt.err)
	}
	require.EqualError(t, &InvalidError{Reason: "a", Err: errors.New("b")}, "a: b")
	require.EqualError(t, &InvalidError{Err: errors.New("b")}, "b")
	require.EqualError(t, Invalidf("a %d", 1), "a 1")
}
