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
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// protocol is the version of the messages, of what they mean included. Agents of different versions do not ask each
// other.
const protocol = 4

const idBytes = len(spanid.TraceID{})

func packIDs(ids []spanid.TraceID) []byte {
	out := make([]byte, 0, len(ids)*idBytes)
	for i := range ids {
		out = append(out, ids[i][:]...)
	}
	return out
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

// listedIDs is readIDs for what a peer answered, which is not the query's fault.
func listedIDs(b []byte) ([]spanid.TraceID, error) {
	ids, err := readIDs(b)
	if err != nil {
		return nil, fmt.Errorf("the peer's answer cannot be read: %s", err) //nolint:errorlint // It must not be an InvalidError.
	}
	return ids, nil
}

func packSet(set exec.TraceSet) []byte {
	out := make([]byte, 0, len(set)*idBytes)
	for id := range set {
		out = append(out, id[:]...)
	}
	return out
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

func packRing(r *query.Ring) *peerpb.Ring {
	if r == nil {
		return nil
	}
	return &peerpb.Ring{Nodes: validAll(r.Nodes), Self: uint32(r.Self)} //nolint:gosec // An index.
}

func unpackRing(r *peerpb.Ring) (*query.Ring, error) {
	out := &query.Ring{Nodes: r.GetNodes(), Self: int(r.GetSelf())}
	if !out.Valid() {
		return nil, query.Invalidf("no ring of nodes: %d of %q", out.Self, out.Nodes)
	}
	return out, nil
}

func packShare(s query.Share) *peerpb.Share {
	return &peerpb.Share{Skip: packSet(s.Skip), Ring: packRing(s.Ring)}
}

func unpackShare(s *peerpb.Share) (out query.Share, err error) {
	if out.Skip, err = readSet(s.GetSkip()); err == nil && s.GetRing() != nil {
		out.Ring, err = unpackRing(s.GetRing())
	}
	return out, err
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

func packColumns(cols []store.Column) []*peerpb.ColumnsRequest_Column {
	out := make([]*peerpb.ColumnsRequest_Column, len(cols))
	for i, c := range cols {
		out[i] = &peerpb.ColumnsRequest_Column{Scope: uint32(c.Scope), Name: valid(c.Name)}
	}
	return out
}

func unpackColumns(list []*peerpb.ColumnsRequest_Column) ([]store.Column, error) {
	out := make([]store.Column, len(list))
	seen := make(map[store.Column]bool, len(list))
	for i, c := range list {
		out[i] = store.Column{Scope: store.ColumnScope(min(c.GetScope(), 255)), Name: c.GetName()} //nolint:gosec // Bounded.
		if !gathered.Carried(out[i]) || seen[out[i]] {
			return nil, query.Invalidf("column %q of scope %d cannot be asked for, or not twice", c.GetName(), c.GetScope())
		}
		seen[out[i]] = true
	}
	for _, c := range gathered.Base {
		if !seen[c] {
			return nil, query.Invalidf("column %q is not asked for", c.Name)
		}
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
	case errors.Is(err, query.ErrStrays):
		code = codes.Aborted
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
	case codes.Aborted:
		return query.ErrStrays
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
