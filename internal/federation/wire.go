package federation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// protocol is the version of the messages, of what they mean included. Agents of different versions do not ask each
// other.
const protocol = 1

const idBytes = len(spanid.TraceID{})

func appendIDs(dst []byte, ids []spanid.TraceID) []byte {
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

func readIDs(b []byte) ([]spanid.TraceID, error) {
	if len(b)%idBytes != 0 {
		return nil, query.Invalidf("%d bytes are no list of trace ids", len(b))
	}
	out := make([]spanid.TraceID, len(b)/idBytes)
	for i := range out {
		copy(out[i][:], b[i*idBytes:])
	}
	return out, nil
}

func appendSet(dst []byte, set exec.TraceSet) []byte {
	for id := range set {
		dst = append(dst, id[:]...)
	}
	return dst
}

func readSet(b []byte) (exec.TraceSet, error) {
	ids, err := readIDs(b)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	out := make(exec.TraceSet, len(ids))
	for _, id := range ids {
		out[id] = struct{}{}
	}
	return out, nil
}

func packBools(list []bool) []byte {
	out := make([]byte, len(list))
	for i, v := range list {
		if v {
			out[i] = 1
		}
	}
	return out
}

func unpackBools(b []byte, n int) ([]bool, error) {
	if len(b) != n {
		return nil, fmt.Errorf("the peer answered about %d traces of %d", len(b), n)
	}
	out := make([]bool, n)
	for i := range b {
		out[i] = b[i] == 1
	}
	return out, nil
}

func packStats(s exec.Stats) *peerpb.Stats {
	return &peerpb.Stats{Traces: int64(s.Traces), Spans: s.Spans, Bytes: s.Bytes}
}

func unpackStats(s *peerpb.Stats) exec.Stats {
	return exec.Stats{Traces: int(s.GetTraces()), Spans: s.GetSpans(), Bytes: s.GetBytes()}
}

// toStatus gives an error the code from which fromStatus makes it again.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	switch {
	case errors.Is(err, exec.ErrBudget):
		code = codes.OutOfRange
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	default:
		switch query.KindOf(err) {
		case query.KindInvalid:
			code = codes.InvalidArgument
		case query.KindUnsupported:
			code = codes.FailedPrecondition
		case query.KindOverloaded, query.KindUnavailable:
			code = codes.Unavailable
		case query.KindTimeout:
			code = codes.DeadlineExceeded
		case query.KindCanceled:
			code = codes.Canceled
		case query.KindInternal, query.KindNotFound:
		}
	}
	return status.Error(code, strings.ToValidUTF8(err.Error(), "\uFFFD"))
}

// fromStatus makes an error of the query service of what a peer answered.
func fromStatus(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch s.Code() {
	case codes.InvalidArgument:
		return &query.InvalidError{Reason: s.Message()}
	case codes.FailedPrecondition:
		return fmt.Errorf("%s: %w", s.Message(), store.ErrUnsupported)
	case codes.OutOfRange:
		return fmt.Errorf("at a peer: %w", exec.ErrBudget)
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	case codes.Unavailable:
		return errors.New(s.Message())
	}
	return errors.New(s.Code().String() + ": " + s.Message())
}
