package federation

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
)

// lineServer answers the calls of lines.
type lineServer struct {
	peerpb.UnimplementedLinesServer

	peer peerpb.PeerServer
}

// Open implements peerpb.LinesServer.
func (s *lineServer) Open(stream grpc.BidiStreamingServer[peerpb.Question, peerpb.Answer]) error {
	for {
		q, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			a := &answer{line: stream, next: q}
			err = a.give(s.peer)
		}
		if err != nil {
			return err
		}
	}
}

// answer is the answering side of a call.
type answer struct {
	line grpc.BidiStreamingServer[peerpb.Question, peerpb.Answer]
	ctx  context.Context //nolint:containedctx // The call's own.
	// next has a request that was not read, or is the message before it.
	next *peerpb.Question
	// out is what was not sent: it may be the last.
	out    *peerpb.Answer
	damage [][]byte
}

var _ grpc.ServerStream = (*answer)(nil)

// give makes the call. An error is one of the line.
func (a *answer) give(peer peerpb.PeerServer) error {
	var cancel context.CancelFunc
	if d := time.Duration(a.next.GetTimeoutNano()); d > 0 {
		a.ctx, cancel = context.WithTimeout(a.line.Context(), d)
	} else {
		a.ctx, cancel = context.WithCancel(a.line.Context())
	}
	defer cancel()
	a.ctx = grpc.NewContextWithServerTransportStream(a.ctx, &trailers{a})
	err := a.call(peer, a.next.GetMethod())
	if a.out == nil {
		a.out = &peerpb.Answer{}
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	a.out.End, a.out.Code, a.out.Message, a.out.Damage = true, uint32(st.Code()), st.Message(), a.damage
	if err := a.line.Send(a.out); err != nil {
		return err
	}
	for !a.next.GetLast() {
		if a.next, err = a.line.Recv(); err != nil {
			return err
		}
	}
	return nil
}

// call calls a method of the service.
func (a *answer) call(peer peerpb.PeerServer, method string) error {
	desc, name := &peerpb.Peer_ServiceDesc, path.Base(method)
	if i := slices.IndexFunc(desc.Methods, func(m grpc.MethodDesc) bool { return m.MethodName == name }); i >= 0 {
		res, err := desc.Methods[i].Handler(peer, a.ctx, a.RecvMsg, nil)
		if errors.Is(err, io.EOF) {
			err = status.Error(codes.Internal, "a question without a request")
		}
		if err != nil {
			return err
		}
		return a.SendMsg(res)
	}
	if i := slices.IndexFunc(desc.Streams, func(s grpc.StreamDesc) bool { return s.StreamName == name }); i >= 0 && !desc.Streams[i].ClientStreams {
		return desc.Streams[i].Handler(peer, a)
	}
	return status.Errorf(codes.Unimplemented, "no method for lines: %q", method)
}

// Context implements grpc.ServerStream.
func (a *answer) Context() context.Context { return a.ctx }

// RecvMsg implements grpc.ServerStream.
func (a *answer) RecvMsg(m any) error {
	for a.next.Request == nil {
		if a.next.GetLast() {
			return io.EOF
		}
		var err error
		if a.next, err = a.line.Recv(); err != nil {
			return err
		}
	}
	p, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no message", m)
	}
	err := proto.Unmarshal(a.next.GetRequest(), p)
	a.next.Request = nil
	if err != nil {
		return status.Errorf(codes.Internal, "decode a question: %v", err)
	}
	return nil
}

// SendMsg implements grpc.ServerStream.
func (a *answer) SendMsg(m any) error {
	if a.out != nil {
		if err := a.line.Send(a.out); err != nil {
			return err
		}
	}
	p, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no message", m)
	}
	b, err := proto.Marshal(p)
	if err != nil {
		return status.Errorf(codes.Internal, "encode an answer: %v", err)
	}
	if b == nil {
		b = []byte{}
	}
	a.out = &peerpb.Answer{Response: b}
	return nil
}

// SetHeader, SendHeader and SetTrailer implement grpc.ServerStream. Answers have no headers.
func (a *answer) SetHeader(metadata.MD) error  { return nil }
func (a *answer) SendHeader(metadata.MD) error { return nil }
func (a *answer) SetTrailer(md metadata.MD) {
	for _, text := range md.Get(damageTrailer) {
		a.damage = append(a.damage, []byte(text))
	}
}

// trailers is what grpc.SetTrailer needs.
type trailers struct{ *answer }

// Method implements grpc.ServerTransportStream.
func (t *trailers) Method() string { return "" }

// SetTrailer implements grpc.ServerTransportStream.
func (t *trailers) SetTrailer(md metadata.MD) error {
	t.answer.SetTrailer(md)
	return nil
}
