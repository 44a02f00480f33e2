package federation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// Newest implements peerpb.PeerServer.
func (s *Server) Newest(stream grpc.BidiStreamingServer[peerpb.NewestRequest, peerpb.NewestResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	share, err := unpackShare(first.GetShare())
	if err != nil {
		return toStatus(err)
	}
	r := query.NewestRequest{SearchRequest: searchOf(first.GetQuery()), Share: share, First: int(first.GetMore())}
	r.Limit, r.SpansPerSpanSet = int(first.GetLimit()), int(first.GetSpansPerSpanSet())
	a := &asker{stream: stream, more: make(chan int, 1), raised: make(chan struct{})}
	go a.listen()
	return s.serve(stream.Context(), "newest", first.GetQuery(), func(ctx context.Context, p query.Peer) error {
		err := p.Newest(ctx, r, a)
		if errors.Is(err, errEnough) || errors.Is(stream.Context().Err(), context.Canceled) {
			return nil
		}
		return err
	})
}

// errEnough ends a search whose asker does not want more.
var errEnough = errors.New("enough was told")

// asker is the other end of a call of Newest.
type asker struct {
	stream grpc.BidiStreamingServer[peerpb.NewestRequest, peerpb.NewestResponse]
	more   chan int
	floor  atomic.Int64

	mu     sync.Mutex
	raised chan struct{}
}

var _ query.Listener = (*asker)(nil)

// listen receives until the call ends, or nothing more will be asked for.
func (a *asker) listen() {
	defer close(a.more)
	for {
		m, err := a.stream.Recv()
		if err != nil {
			return
		}
		if f := m.GetFloor(); f > a.floor.Load() {
			a.floor.Store(f)
			a.mu.Lock()
			close(a.raised)
			a.raised = make(chan struct{})
			a.mu.Unlock()
		}
		if n := m.GetMore(); n > 0 {
			select {
			case a.more <- int(n):
			default: // It was asked for more without waiting for an answer.
			}
		}
	}
}

// Floor implements query.Listener.
func (a *asker) Floor() int64 { return a.floor.Load() }

// Raised implements query.Listener.
func (a *asker) Raised() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.raised
}

// Hear implements query.Listener.
func (a *asker) Hear(n query.News) error {
	data, err := (&exec.SearchResult{Traces: n.Traces, Stats: n.Stats}).MarshalBinary()
	if err != nil {
		return err
	}
	for ; len(data) > pieceBytes; data = data[pieceBytes:] {
		if err := a.stream.Send(&peerpb.NewestResponse{Data: data[:pieceBytes:pieceBytes]}); err != nil {
			return err
		}
	}
	return a.stream.Send(&peerpb.NewestResponse{Data: data, Last: true, Rest: n.Rest, Waits: n.Waits, Damage: valid(n.Missing)})
}

// More implements query.Listener.
func (a *asker) More(ctx context.Context) (int, error) {
	select {
	case n, ok := <-a.more:
		if !ok {
			return 0, errEnough
		}
		return n, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Newest implements query.Peer.
func (p *remote) Newest(ctx context.Context, r query.NewestRequest, to query.Listener) error {
	return p.call(ctx, func(ctx context.Context) error {
		var raising sync.WaitGroup
		defer raising.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := p.client.Newest(ctx)
		if err != nil {
			return err
		}
		c := &newestCall{stream: stream, to: to}
		err = c.send(&peerpb.NewestRequest{
			Query: packSearch(&r.SearchRequest), Limit: int64(r.Limit), SpansPerSpanSet: int64(r.SpansPerSpanSet), Share: packShare(r.Share),
			More: int64(r.First),
		})
		if err != nil {
			return err
		}
		ended := make(chan struct{})
		defer close(ended)
		raising.Go(func() { c.raise(ended) })
		return c.receive(ctx)
	})
}

// newestCall is a call of Newest of a peer.
type newestCall struct {
	to query.Listener

	mu     sync.Mutex // Of sending.
	stream grpc.BidiStreamingClient[peerpb.NewestRequest, peerpb.NewestResponse]
}

// send sends a message. If the call has failed, receiving tells why.
func (c *newestCall) send(m *peerpb.NewestRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// raise tells the peer of a floor, not before it has taken some time: mostly it is done before that, or waits.
func (c *newestCall) raise(ended <-chan struct{}) {
	const quick = 2 * time.Millisecond
	late := time.NewTimer(quick)
	defer late.Stop()
	select {
	case <-ended:
		return
	case <-late.C:
	}
	for told := int64(0); ; {
		raised := c.to.Raised()
		if f := c.to.Floor(); f > told {
			told = f
			if err := c.send(&peerpb.NewestRequest{Floor: f}); err != nil {
				return // Receiving fails too.
			}
		}
		select {
		case <-ended:
			return
		case <-raised:
		}
	}
}

// receive passes on what the peer tells.
func (c *newestCall) receive(ctx context.Context) error {
	var all pieces
	for {
		m, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			if len(all.data) > 0 {
				return fmt.Errorf("the peer's answer ends amid a result: %w", exec.ErrWire)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := all.add(m.GetData()); err != nil {
			return err
		}
		if !m.GetLast() {
			continue
		}
		res := &exec.SearchResult{}
		if err := res.UnmarshalBinary(all.data); err != nil {
			return err
		}
		all = pieces{}
		query.NoteDamage(ctx, valid(m.GetDamage()))
		err = c.to.Hear(query.News{Traces: res.Traces, Rest: m.GetRest(), Waits: m.GetWaits(), Stats: res.Stats})
		if err == nil && m.GetWaits() {
			err = c.more(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// more lets the peer go on when its turn comes.
func (c *newestCall) more(ctx context.Context) error {
	n, err := c.to.More(ctx)
	if err != nil {
		return err
	}
	return c.send(&peerpb.NewestRequest{More: int64(max(1, n)), Floor: c.to.Floor()})
}
