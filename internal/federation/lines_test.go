package federation

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// answering is a server that counts.
type answering struct {
	conn                *grpc.ClientConn
	opened, open, calls atomic.Int64
	// messages is after how many messages of a line the server ends it, 0 for never.
	messages atomic.Int64
}

// ending is a stream that ends after some messages.
type ending struct {
	grpc.ServerStream
	left int64
}

func (e *ending) RecvMsg(m any) error {
	if e.left--; e.left < 0 {
		return io.EOF
	}
	return e.ServerStream.RecvMsg(m)
}

func answerWith(t *testing.T, register func(s grpc.ServiceRegistrar)) *answering {
	t.Helper()
	a := &answering{}
	server := grpc.NewServer(append(ServerOptions(), grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		a.calls.Add(1)
		return h(ctx, req)
	}), grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		if info.FullMethod != peerpb.Lines_Open_FullMethodName {
			a.calls.Add(1)
			return h(srv, ss)
		}
		a.opened.Add(1)
		a.open.Add(1)
		defer a.open.Add(-1)
		if n := a.messages.Load(); n > 0 {
			ss = &ending{ss, n - 1}
		}
		return h(srv, ss)
	}))...)
	register(server)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // It ends by Stop.
	}()
	a.conn, err = dial(l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, a.conn.Close())
		server.Stop()
		<-done
	})
	return a
}

// answerAll is a whole server.
func answerAll(t *testing.T) *answering {
	t.Helper()
	o := oracle.New(0)
	require.NoError(t, o.Append(t.Context(), testkit.NewGenerator(1).Batch(100)))
	return answerWith(t, NewServer(query.New(o, query.Limits{}), "a", "1").Register)
}

func (a *answering) lines(t *testing.T, measured bool) *lines {
	t.Helper()
	l := newLines(a.conn, measured)
	t.Cleanup(l.close)
	return l
}

// someQuestions asks one question of each kind of call, and one that is refused.
func someQuestions(t *testing.T, p query.Peer) {
	t.Helper()
	held, err := p.Holds(t.Context(), []spanid.TraceID{{1}}, "")
	require.NoError(t, err)
	require.Equal(t, []bool{false}, held)
	names, err := p.TagNames(t.Context(), query.TagNamesRequest{}, query.Share{})
	require.NoError(t, err)
	require.NotEmpty(t, names.Scopes)
	values, err := p.TagValues(t.Context(), query.TagValuesRequest{Name: "name"}, query.Share{})
	require.NoError(t, err)
	require.NotEmpty(t, values.Values)
	_, err = p.MetricsPartial(t.Context(), query.MetricsRequest{Query: "{ nonsense"}, query.Share{})
	require.Equal(t, query.KindInvalid, query.KindOf(err))
}

func TestLinesAreUsedAgain(t *testing.T) {
	a := answerAll(t)
	p := NewPeer(a.lines(t, false), "a")
	for range 20 {
		someQuestions(t, p)
	}
	require.EqualValues(t, 1, a.opened.Load())
	require.Zero(t, a.calls.Load())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 50 {
				if _, err := p.Holds(t.Context(), []spanid.TraceID{{1}}, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, a.opened.Load(), int64(3))
}

// TestLinesAreClosed: few stay open without use, and these not for long.
func TestLinesAreClosed(t *testing.T) {
	a := answerAll(t)
	l := a.lines(t, false)
	var calls []*call
	for range mostLines + 4 {
		c, err := l.begin(t.Context(), peerpb.Peer_Hello_FullMethodName)
		require.NoError(t, err)
		calls = append(calls, c)
	}
	for _, c := range calls {
		require.NoError(t, c.SendMsg(&peerpb.HelloRequest{}))
		res := &peerpb.HelloResponse{}
		require.NoError(t, c.RecvMsg(res))
		require.Equal(t, "a", res.GetNode())
		require.Equal(t, io.EOF, c.RecvMsg(res), "and again")
		require.Equal(t, io.EOF, c.RecvMsg(res))
	}
	require.EqualValues(t, mostLines+4, a.opened.Load())
	eventuallyOpen := func(n int64) {
		t.Helper()
		require.Eventually(t, func() bool { return a.open.Load() == n }, 30*time.Second, time.Millisecond)
	}
	eventuallyOpen(mostLines)
	now := time.Now()
	l.prune(now)
	eventuallyOpen(mostLines)
	l.free[0].opened = now.Add(-lineAge - time.Second)
	l.prune(now)
	eventuallyOpen(mostLines - 1)
	l.prune(now.Add(lineIdle + time.Second))
	eventuallyOpen(0)
	require.Empty(t, l.free)
	someQuestions(t, NewPeer(l, "a"))
	l.close()
	eventuallyOpen(0)
	_, err := NewPeer(l, "a").Holds(t.Context(), nil, "")
	require.Error(t, err)
}

// TestLineThatHasEnded while nobody used it is no failure; one that ends before it has answered is.
func TestLineThatHasEnded(t *testing.T) {
	a := answerAll(t)
	a.messages.Store(2)
	p := NewPeer(a.lines(t, false), "a")
	for range 5 {
		someQuestions(t, p)
	}
	require.EqualValues(t, 20, a.opened.Load())
	a.messages.Store(1)
	_, err := p.Holds(t.Context(), []spanid.TraceID{{1}}, "")
	require.ErrorContains(t, err, "the peer has closed the line")
}

// TestShownCallsAreNotOnLines: what gRPC's instrumentation says of calls is about calls.
func TestShownCallsAreNotOnLines(t *testing.T) {
	a := answerAll(t)
	tp := sdktrace.NewTracerProvider()
	t.Cleanup(func() { require.NoError(t, tp.Shutdown(context.Background())) })
	ctx, span := tp.Tracer("test").Start(t.Context(), "query")
	defer span.End()
	_, err := NewPeer(a.lines(t, false), "a").Holds(ctx, nil, "")
	require.NoError(t, err)
	someQuestions(t, NewPeer(a.lines(t, true), "a"))
	require.Zero(t, a.opened.Load())
	require.EqualValues(t, 5, a.calls.Load())
}

// waiting is an agent that does not answer until the question is cancelled.
type waiting struct {
	peerpb.UnimplementedPeerServer
	asked chan time.Duration // What was left of the time limit.
	ended chan struct{}
}

func (w *waiting) Holds(ctx context.Context, _ *peerpb.HoldsRequest) (*peerpb.HoldsResponse, error) {
	end, _ := ctx.Deadline()
	w.asked <- time.Until(end)
	<-ctx.Done()
	w.ended <- struct{}{}
	return nil, ctx.Err()
}

func (w *waiting) Hello(context.Context, *peerpb.HelloRequest) (*peerpb.HelloResponse, error) {
	return &peerpb.HelloResponse{Node: "slow"}, nil
}

func TestQuestionsOnLinesAreCancelled(t *testing.T) {
	w := &waiting{asked: make(chan time.Duration, 1), ended: make(chan struct{}, 1)}
	a := answerWith(t, func(s grpc.ServiceRegistrar) { peerpb.RegisterLinesServer(s, &lineServer{peer: w}) })
	l := a.lines(t, false)
	p := NewPeer(l, "slow")
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Holds(ctx, nil, "")
		failed <- err
	}()
	require.InDelta(t, time.Hour, <-w.asked, float64(10*time.Minute))
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	<-w.ended
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.Holds(ctx, nil, "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	res, err := peerpb.NewPeerClient(l).Hello(t.Context(), &peerpb.HelloRequest{})
	require.NoError(t, err)
	require.Equal(t, "slow", res.GetNode())
}

// TestLineThatCannotBeOpened: the time limit of a call is also for the connection.
func TestLineThatCannotBeOpened(t *testing.T) {
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0") // Nobody accepts, so that the connection is not made.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	conn, err := dial(silent.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	l := newLines(conn, false)
	t.Cleanup(l.close)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = NewPeer(l, "a").Holds(ctx, nil, "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// saying is an agent that answers with what a test gives it.
type saying struct {
	peerpb.UnimplementedLinesServer
	answers []*peerpb.Answer
}

func (s *saying) Open(stream grpc.BidiStreamingServer[peerpb.Question, peerpb.Answer]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return nil //nolint:nilerr // The client is gone.
		}
		for _, a := range s.answers {
			if err := stream.Send(a); err != nil {
				return err
			}
		}
	}
}

func TestOddAnswersOnLines(t *testing.T) {
	good, err := proto.Marshal(&peerpb.HelloResponse{Node: "x"})
	require.NoError(t, err)
	for want, answers := range map[string][]*peerpb.Answer{
		"":                     {{Response: good, End: true}},
		"nothing in it":        {{}},
		"no answer":            {{End: true}},
		"more than one answer": {{Response: good}, {Response: good, End: true}},
		"decode the answer":    {{Response: []byte{0xff}, End: true}},
		"out of order":         {{End: true, Code: uint32(codes.Aborted), Message: "out of order"}},
	} {
		s := &saying{answers: answers}
		a := answerWith(t, func(g grpc.ServiceRegistrar) { peerpb.RegisterLinesServer(g, s) })
		res, err := peerpb.NewPeerClient(a.lines(t, false)).Hello(t.Context(), &peerpb.HelloRequest{})
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, "x", res.GetNode())
			continue
		}
		require.ErrorContains(t, err, want)
		if want == "out of order" {
			require.Equal(t, codes.Aborted, status.Code(err))
		}
	}
}

// TestOddQuestionsOnLines are answered with an error, and the line goes on.
func TestOddQuestionsOnLines(t *testing.T) {
	a := answerAll(t)
	stream, err := peerpb.NewLinesClient(a.conn).Open(t.Context())
	require.NoError(t, err)
	for want, questions := range map[string][]*peerpb.Question{
		`no method for lines: "/x/Nonsense"`: {{Method: "/x/Nonsense", Request: []byte{}}, {Request: []byte{1}}, {Last: true}},
		`no method for lines: ""`:            {{Last: true}},
		"decode a question":                  {{Method: "Hello", Request: []byte{0xff}, Last: true}},
		"a question without a request":       {{Method: "Hello"}, {}, {Last: true}},
		"":                                   {{Method: "Hello"}, {Request: []byte{}}, {Request: []byte{}, Last: true}},
	} {
		for _, q := range questions {
			require.NoError(t, stream.Send(q))
		}
		res, err := stream.Recv()
		require.NoError(t, err)
		require.True(t, res.GetEnd())
		require.Contains(t, res.GetMessage(), want)
		require.Equal(t, want == "", res.GetCode() == 0)
	}
}

// questions is a line on which these come.
type questions struct {
	grpc.ServerStream
	ctx   context.Context //nolint:containedctx // What Context returns.
	list  []*peerpb.Question
	ended int
}

func (q *questions) Context() context.Context { return q.ctx }
func (q *questions) Recv() (*peerpb.Question, error) {
	if len(q.list) == 0 {
		return nil, io.EOF
	}
	next := q.list[0]
	q.list = q.list[1:]
	return next, nil
}

func (q *questions) Send(a *peerpb.Answer) error {
	if a.GetEnd() {
		q.ended++
	}
	return nil
}

// FuzzLines gives the server arbitrary questions: each has one end.
func FuzzLines(f *testing.F) {
	o := oracle.New(0)
	if err := o.Append(f.Context(), testkit.NewGenerator(1).Batch(50)); err != nil {
		f.Fatal(err)
	}
	s := &lineServer{peer: NewServer(query.New(o, query.Limits{Timeout: time.Minute}), "node", "1")}
	request, err := proto.Marshal(&peerpb.TagsRequest{Query: packText("", 0, 0, "c"), Name: "name"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/bramble.peer.v1.Peer/TagValues", request, int64(time.Hour), []byte{}, true)
	f.Add("TagNames", request, int64(-1), []byte{1}, false)
	f.Add("Newest", []byte{}, int64(1), request, false)
	f.Fuzz(func(t *testing.T, method string, request []byte, timeout int64, more []byte, last bool) {
		q := &questions{ctx: t.Context(), list: []*peerpb.Question{
			{Method: method, Request: request, TimeoutNano: timeout, Last: last},
			{Request: more},
			{Last: true},
			{Method: "Hello", Request: []byte{}, Last: true},
		}}
		if last {
			q.list = append(q.list[:1], q.list[3])
		}
		if err := s.Open(q); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("the line has ended: %v", err)
		}
		if q.ended != 2 {
			t.Errorf("%d of two calls have ended: %s", q.ended, strings.ToValidUTF8(method, "?"))
		}
	})
}
