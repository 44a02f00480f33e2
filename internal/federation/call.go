package federation

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
)

// call is one call on a line. As other streams it has one goroutine that sends and one that receives, at most.
type call struct {
	lines *lines
	ctx   context.Context //nolint:containedctx // The call's own.
	line  *line
	// stop ends what ends the line with ctx.
	stop func() bool

	// next is the message that is sent next; waiting says that there is something in it. It waits because it may be the last.
	next    *peerpb.Question
	waiting bool
	last    bool // The last message was sent.
	// again says that the line was used before and may have ended meanwhile: the call is made anew then. sent is what was sent.
	again bool
	sent  []*peerpb.Question

	ended   bool
	end     error // io.EOF after success.
	trailer metadata.MD
}

var _ grpc.ClientStream = (*call)(nil)

// abandon ends a call whose end was not received.
func (c *call) abandon() {
	if !c.ended {
		c.stop()
		c.line.cancel()
	}
}

// Header implements grpc.ClientStream. There are none.
func (c *call) Header() (metadata.MD, error) { return metadata.MD{}, nil }

// Trailer implements grpc.ClientStream.
func (c *call) Trailer() metadata.MD { return c.trailer }

// Context implements grpc.ClientStream.
func (c *call) Context() context.Context { return c.ctx }

// SendMsg implements grpc.ClientStream. That the line has ended is said by RecvMsg.
func (c *call) SendMsg(m any) error {
	c.flush()
	p, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no message", m)
	}
	b, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode a question: %w", err)
	}
	c.next.Request = b
	if b == nil {
		c.next.Request = []byte{}
	}
	c.waiting = true
	return nil
}

// CloseSend implements grpc.ClientStream.
func (c *call) CloseSend() error {
	c.next.Last = true
	c.waiting = true
	c.flush()
	return nil
}

// flush sends what waits.
func (c *call) flush() {
	if !c.waiting || c.last {
		return
	}
	q := c.next
	c.next, c.waiting, c.last = &peerpb.Question{}, false, q.GetLast()
	if c.again {
		c.sent = append(c.sent, q)
	}
	_ = c.line.stream.Send(q) // Receiving tells why it has failed.
}

// RecvMsg implements grpc.ClientStream.
func (c *call) RecvMsg(m any) error {
	if c.ended {
		return c.end
	}
	c.flush()
	a, err := c.receive()
	if err != nil {
		c.abandon()
		c.ended, c.end = true, err
		return err
	}
	if a.GetEnd() {
		c.finish(a)
	}
	switch {
	case a.GetResponse() != nil:
		p, ok := m.(proto.Message)
		if !ok {
			return status.Errorf(codes.Internal, "%T is no message", m)
		}
		if err := proto.Unmarshal(a.GetResponse(), p); err != nil {
			return status.Errorf(codes.Internal, "decode the answer of a peer: %v", err)
		}
		return nil
	case !c.ended:
		return status.Error(codes.Internal, "the peer gave an answer with nothing in it")
	}
	return c.end
}

// receive receives a message. If the line had ended before the call, it is made on a new one: a question changes nothing,
// so that it does not matter if it was heard.
func (c *call) receive() (*peerpb.Answer, error) {
	a, err := c.line.stream.Recv()
	for ; err != nil; a, err = c.line.stream.Recv() {
		if c.ctx.Err() != nil {
			return nil, status.FromContextError(c.ctx.Err()).Err()
		}
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Unavailable, "the peer has closed the line")
		}
		if !c.again || status.Code(err) != codes.Unavailable {
			return nil, err
		}
		c.again = false
		c.stop()
		c.line.cancel()
		next, stop, err := c.lines.open(c.ctx)
		if err != nil {
			return nil, err
		}
		c.line, c.stop = next, stop
		for _, q := range c.sent {
			_ = c.line.stream.Send(q) // As in flush.
		}
	}
	c.again, c.sent = false, nil
	return a, nil
}

// finish notes the end and gives the line back.
func (c *call) finish(a *peerpb.Answer) {
	c.ended, c.end = true, io.EOF
	if code := codes.Code(a.GetCode()); code != codes.OK {
		c.end = status.Error(code, a.GetMessage())
	}
	for _, text := range a.GetDamage() {
		c.trailer = metadata.Join(c.trailer, metadata.Pairs(damageTrailer, string(text)))
	}
	if !c.last { // The peer waits for it before the next call.
		c.next.Last, c.waiting = true, true
		c.flush()
	}
	if c.stop() {
		c.lines.put(c.line)
	} else {
		c.line.cancel()
	}
}
