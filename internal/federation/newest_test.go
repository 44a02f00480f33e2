package federation

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// collected is a listener that wants everything.
type collected struct {
	exec.SearchResult
	waited int
	heard  func(n query.News) error // May be nil.
	more   func(ctx context.Context) (int, error)
	floor  func() (int64, <-chan struct{})
}

func (c *collected) Hear(n query.News) error {
	c.Traces, c.Stats = append(c.Traces, n.Traces...), n.Stats
	if c.heard != nil {
		return c.heard(n)
	}
	return nil
}

func (c *collected) More(ctx context.Context) (int, error) {
	if c.waited++; c.more != nil {
		return c.more(ctx)
	}
	return 1, nil
}

func (c *collected) Floor() int64 {
	if c.floor == nil {
		return 0
	}
	f, _ := c.floor()
	return f
}

func (c *collected) Raised() <-chan struct{} {
	if c.floor == nil {
		return nil
	}
	_, ch := c.floor()
	return ch
}

// newest asks for all of the newest.
func newest(ctx context.Context, p query.Peer, r query.SearchRequest, s query.Share) (*exec.SearchResult, error) {
	var c collected
	if err := p.Newest(ctx, query.NewestRequest{SearchRequest: r, Share: s, First: 1}, &c); err != nil {
		return nil, err
	}
	return &c.SearchResult, nil
}

// TestNewestWaits: a peer tells of as many as it is asked for and waits. Whoever has enough leaves it, which is no failure
// of a query, and a floor that was raised meanwhile is known to the peer when it goes on.
func TestNewestWaits(t *testing.T) {
	a := serve(t, "127.0.0.1:0", "a", "1", testkit.NewGenerator(1).Batch(3000))
	ended := make(chan query.Done, 16)
	a.service.OnDone(func(d query.Done) { ended <- d })
	conn, err := dial(a.address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	kept := newLines(conn, false)
	t.Cleanup(kept.close)
	for name, over := range map[string]grpc.ClientConnInterface{"connection": conn, "lines": kept} {
		t.Run(name, func(t *testing.T) { checkNewestWaits(t, NewPeer(over, "a"), ended) })
	}
}

func checkNewestWaits(t *testing.T, p query.Peer, ended <-chan query.Done) {
	t.Helper()
	ask := func(c *collected) (query.Done, error) {
		r := query.NewestRequest{SearchRequest: query.SearchRequest{Query: "{}", Limit: 20, SpansPerSpanSet: 1}, First: 4}
		err := p.Newest(t.Context(), r, c)
		select {
		case d := <-ended:
			return d, err
		case <-time.After(time.Minute):
			t.Fatal("the peer goes on for ever")
			return query.Done{}, nil
		}
	}
	whole := &collected{}
	d, err := ask(whole)
	require.NoError(t, err)
	require.NoError(t, d.Err)
	require.Greater(t, whole.waited, 1)
	require.GreaterOrEqual(t, len(whole.Traces), 20)

	enough := errors.New("enough")
	for name, c := range map[string]*collected{
		"when told": {heard: func(query.News) error { return enough }},
		"waiting":   {more: func(context.Context) (int, error) { return 0, enough }},
	} {
		d, err := ask(c)
		require.ErrorIs(t, err, enough, name)
		require.NoError(t, d.Err, name)
		require.Less(t, len(c.Traces), 20, name)
	}

	var floor atomic.Int64
	c := &collected{floor: func() (int64, <-chan struct{}) { return floor.Load(), nil }}
	c.more = func(context.Context) (int, error) {
		floor.Store(int64(c.Traces[0].StartNano) + 1) //nolint:gosec // A time of today.
		return 20, nil
	}
	d, err = ask(c)
	require.NoError(t, err)
	require.NoError(t, d.Err)
	require.Equal(t, 1, c.waited)
	require.Less(t, len(c.Traces), 20)
}

// TestNewestFloor: a floor that is raised while a peer is busy reaches it.
func TestNewestFloor(t *testing.T) {
	a := serve(t, "127.0.0.1:0", "a", "1", testkit.NewGenerator(1).Batch(300))
	conn, err := dial(a.address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	raised := make(chan struct{})
	c := &collected{floor: func() (int64, <-chan struct{}) {
		select {
		case <-raised:
			return 1 << 62, nil
		default:
			return 1, raised
		}
	}}
	c.more = func(ctx context.Context) (int, error) {
		close(raised)
		return 1, ctx.Err()
	}
	r := query.NewestRequest{SearchRequest: query.SearchRequest{Query: "{}", Limit: 50, SpansPerSpanSet: 1}, First: 1}
	require.NoError(t, NewPeer(conn, "a").Newest(t.Context(), r, c))
	require.Equal(t, 1, c.waited, "nothing is as late as the floor")
}
