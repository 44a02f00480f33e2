package federation

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
)

const (
	// mostLines is how many lines to one peer stay open while nobody uses them. Each is one of the streams that
	// peers::server::max_concurrent_streams bounds.
	mostLines = 4
	// lineIdle is how long one does, and lineAge how long it is used at all: so connections that the server wants to be
	// rid of, and credentials that expire, do not last.
	lineIdle, lineAge = 10 * time.Second, time.Minute
)

// lines makes calls of the service Peer on streams that stay open (peerpb.LinesClient). One stream has one call at a time,
// so limits, flow control and cancellation are gRPC's own. It is safe for concurrent use.
type lines struct {
	conn grpc.ClientConnInterface
	// measured says that somebody sees gRPC's own metrics.
	measured bool
	// base is the context of all streams.
	base   context.Context //nolint:containedctx // Streams outlive the calls that open them.
	cancel context.CancelFunc

	mu   sync.Mutex
	free []*line // Latest used last.
}

var _ grpc.ClientConnInterface = (*lines)(nil)

// line is a stream. It belongs to one call, or to lines.free.
type line struct {
	stream       grpc.BidiStreamingClient[peerpb.Question, peerpb.Answer]
	cancel       context.CancelFunc
	opened, used time.Time
}

func newLines(conn grpc.ClientConnInterface, measured bool) *lines {
	l := &lines{conn: conn, measured: measured}
	l.base, l.cancel = context.WithCancel(context.Background())
	return l
}

// close ends all streams and what is asked on them.
func (l *lines) close() { l.cancel() }

// prune closes streams that nobody uses any more.
func (l *lines) prune(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = slices.DeleteFunc(l.free, func(s *line) bool {
		old := now.Sub(s.used) > lineIdle || now.Sub(s.opened) > lineAge
		if old {
			s.cancel()
		}
		return old
	})
}

// take returns a free stream, or nil.
func (l *lines) take() *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return nil
	}
	s := l.free[n-1]
	l.free = l.free[:n-1]
	return s
}

// put gives a stream back whose call has ended.
func (l *lines) put(s *line) {
	s.used = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) >= mostLines || s.used.Sub(s.opened) > lineAge || l.base.Err() != nil {
		s.cancel()
		return
	}
	l.free = append(l.free, s)
}

// open opens a stream for a call with a context, which ends the stream until stop is called.
func (l *lines) open(call context.Context) (s *line, stop func() bool, err error) { //nolint:contextcheck // A stream outlives the call.
	ctx, cancel := context.WithCancel(l.base)
	stop = context.AfterFunc(call, cancel)
	stream, err := peerpb.NewLinesClient(l.conn).Open(ctx) //nolint:contextcheck // As above.
	if err != nil {
		stop()
		cancel()
		if call.Err() != nil {
			err = status.FromContextError(call.Err()).Err()
		}
		return nil, nil, err
	}
	return &line{stream: stream, cancel: cancel, opened: time.Now()}, stop, nil
}

// Invoke implements grpc.ClientConnInterface.
func (l *lines) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if l.shown(ctx) {
		return l.conn.Invoke(ctx, method, args, reply, opts...)
	}
	c, err := l.begin(ctx, method)
	if err != nil {
		return err
	}
	defer c.abandon()
	if err := errors.Join(c.SendMsg(args), c.CloseSend()); err != nil {
		return err
	}
	if err := c.RecvMsg(reply); err != nil {
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Internal, "the peer gave no answer")
		}
		return err
	}
	if !c.ended {
		return status.Error(codes.Internal, "the peer gave more than one answer")
	}
	for _, o := range opts {
		if t, ok := o.(grpc.TrailerCallOption); ok {
			*t.TrailerAddr = c.Trailer()
		}
	}
	return nil
}

// NewStream implements grpc.ClientConnInterface. The stream is released at its end or that of ctx. Calls in which both
// sides go on talking are not made on lines: these hold messages back until it is known whether they are the last.
func (l *lines) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if desc.ClientStreams || l.shown(ctx) {
		return l.conn.NewStream(ctx, desc, method, opts...)
	}
	return l.begin(ctx, method)
}

// shown reports whether somebody sees what gRPC's own instrumentation says of calls, which then are not made on lines.
func (l *lines) shown(ctx context.Context) bool {
	return l.measured || trace.SpanFromContext(ctx).IsRecording()
}

// begin begins a call.
func (l *lines) begin(ctx context.Context, method string) (*call, error) {
	c := &call{lines: l, ctx: ctx, line: l.take(), next: &peerpb.Question{Method: method}}
	if end, ok := ctx.Deadline(); ok {
		c.next.TimeoutNano = max(1, int64(time.Until(end)))
	}
	if c.line != nil {
		c.again = true
		c.stop = context.AfterFunc(ctx, c.line.cancel)
		return c, nil
	}
	var err error
	if c.line, c.stop, err = l.open(ctx); err != nil {
		return nil, err
	}
	return c, nil
}
