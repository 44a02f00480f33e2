package federation

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// sink is the server's side of a stream whose messages nobody reads.
type sink[M any] struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // What Context returns.
}

func (s *sink[M]) Context() context.Context     { return s.ctx }
func (s *sink[M]) Send(*M) error                { return nil }
func (s *sink[M]) SetTrailer(md metadata.MD)    { _ = md }
func (s *sink[M]) SetHeader(metadata.MD) error  { return nil }
func (s *sink[M]) SendHeader(metadata.MD) error { return nil }

// asking is the server's side of a call in which the same message is received several times.
type asking struct {
	sink[peerpb.NewestResponse]
	message *peerpb.NewestRequest
	times   int
}

func (a *asking) Recv() (*peerpb.NewestRequest, error) {
	if a.times--; a.times < 0 {
		return nil, io.EOF
	}
	return a.message, nil
}

// message decodes bytes as a message; nil if they are none.
func message[M any, P interface {
	*M
	proto.Message
}](data []byte,
) *M {
	m := new(M)
	if proto.Unmarshal(data, P(m)) != nil {
		return nil
	}
	return m
}

// FuzzRequests gives every method of the server arbitrary bytes: it answers or refuses with a status, and never panics.
func FuzzRequests(f *testing.F) {
	o := oracle.New(0)
	if err := o.Append(f.Context(), testkit.NewGenerator(1).Batch(50)); err != nil {
		f.Fatal(err)
	}
	s := NewServer(query.New(o, query.Limits{Timeout: time.Minute}), "node", "1")
	text := packText("{ status = error } | rate() by (name)", 0, 1<<60, "c")
	for _, m := range []proto.Message{
		&peerpb.HoldsRequest{TraceIds: make([]byte, 17)}, &peerpb.FragmentsRequest{TraceIds: make([]byte, 32), MaxTraceBytes: -1},
		&peerpb.ColumnsRequest{TraceIds: make([]byte, 32), Columns: packColumns(gathered.Base)}, &peerpb.ColumnsRequest{Columns: []*peerpb.ColumnsRequest_Column{{Scope: 300}}},
		&peerpb.MetricsRequest{Query: text, StepNano: -5, Share: &peerpb.Share{Skip: make([]byte, 3)}}, &peerpb.MetricsRequest{Query: text, StepNano: 1, Exemplars: -1},
		&peerpb.SearchRequest{Query: packText("{}", 0, 0, ""), TraceIds: make([]byte, 16), SpansPerSpanSet: -1},
		&peerpb.TagsRequest{Query: packText("{", 0, 0, ""), Name: "span.", Limit: -1},
		&peerpb.CandidatesRequest{Kind: peerpb.CandidatesRequest_SEARCH, Query: packText("{} >> {}", 5, 4, ""), Limit: -3},
		&peerpb.CandidatesRequest{Kind: peerpb.CandidatesRequest_METRICS, Query: text, StepNano: 1 << 40}, &peerpb.CandidatesRequest{Kind: 9},
		&peerpb.StraysRequest{Ring: &peerpb.Ring{Nodes: []string{"a", "b"}, Self: 1}}, &peerpb.StraysRequest{Ring: &peerpb.Ring{Self: 1 << 31}},
		&peerpb.NewestRequest{Query: packText("{}", 0, 0, ""), Limit: -1, Share: &peerpb.Share{Ring: &peerpb.Ring{Nodes: []string{"a"}}}},
		&peerpb.NewestRequest{Query: packText("{}", 0, 0, ""), Limit: 20, More: 2, Floor: 1 << 60}, &peerpb.NewestRequest{Query: packText("{}", 0, 0, ""), More: -2},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		check := func(what string, err error) {
			if _, ok := status.FromError(err); !ok {
				t.Errorf("%s: an error without a status: %v", what, err)
			}
		}
		if m := message[peerpb.HoldsRequest](data); m != nil {
			_, err := s.Holds(ctx, m)
			check("holds", err)
		}
		if m := message[peerpb.FragmentsRequest](data); m != nil {
			check("fragments", s.Fragments(m, &sink[peerpb.FragmentsResponse]{ctx: ctx}))
		}
		if m := message[peerpb.ColumnsRequest](data); m != nil {
			check("columns", s.Columns(m, &sink[peerpb.Chunk]{ctx: ctx}))
		}
		if m := message[peerpb.CandidatesRequest](data); m != nil {
			check("candidates", s.Candidates(m, &sink[peerpb.CandidatesResponse]{ctx: ctx}))
		}
		if m := message[peerpb.SearchRequest](data); m != nil {
			check("search", s.Search(m, &sink[peerpb.SearchResponse]{ctx: ctx}))
		}
		if m := message[peerpb.StraysRequest](data); m != nil {
			_, err := s.Strays(ctx, m)
			check("strays", err)
		}
		if m := message[peerpb.NewestRequest](data); m != nil {
			check("newest", s.Newest(&asking{sink: sink[peerpb.NewestResponse]{ctx: ctx}, message: m, times: 3}))
		}
		if m := message[peerpb.MetricsRequest](data); m != nil {
			check("metrics", s.Metrics(m, &sink[peerpb.Chunk]{ctx: ctx}))
		}
		if m := message[peerpb.TagsRequest](data); m != nil {
			_, err := s.TagNames(ctx, m)
			check("names", err)
			check("values", s.TagValues(m, &sink[peerpb.TagValuesResponse]{ctx: ctx}))
		}
	})
}

// canned is a connection on which every call is answered with the same message.
type canned struct{ data []byte }

func (c canned) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	return proto.Unmarshal(c.data, reply.(proto.Message))
}

func (c canned) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &cannedStream{ctx: ctx, data: c.data}, nil
}

type cannedStream struct {
	grpc.ClientStream
	ctx  context.Context //nolint:containedctx // What Context returns.
	data []byte
	sent bool
}

func (s *cannedStream) Context() context.Context { return s.ctx }
func (s *cannedStream) SendMsg(any) error        { return nil }
func (s *cannedStream) CloseSend() error         { return nil }
func (s *cannedStream) Trailer() metadata.MD     { return nil }
func (s *cannedStream) RecvMsg(m any) error {
	if s.sent {
		return io.EOF
	}
	s.sent = true
	return proto.Unmarshal(s.data, m.(proto.Message))
}

// FuzzAnswers lets a peer answer every question with arbitrary bytes: they are refused, or the result is of the size that
// was asked for.
func FuzzAnswers(f *testing.F) {
	for _, m := range []proto.Message{
		&peerpb.HoldsResponse{Held: []byte{1, 0}}, &peerpb.CandidatesResponse{TraceIds: make([]byte, 32), Bounds: []uint64{1, 1 << 63}, Rest: 1},
		&peerpb.SearchResponse{Data: []byte{1, 0, 0, 0, 0, 0, 0}, Held: []byte{1, 1}}, &peerpb.Chunk{Data: []byte{1, 0, 0, 1, 0}},
		&peerpb.TagValuesResponse{Types: []string{"string"}, Values: []string{"x"}}, &peerpb.FragmentsResponse{Spans: []byte{10, 0}, Missing: "x"},
		&peerpb.StraysResponse{TraceIds: make([]byte, 16), Many: true}, &peerpb.Chunk{Data: []byte{1, 2, 4, 0}},
		&peerpb.NewestResponse{Data: []byte{1, 0, 0, 0, 0, 0, 0}, Last: true, Waits: true, Rest: -1}, &peerpb.NewestResponse{Data: []byte{1, 0, 0, 0, 0, 0, 0}, Damage: "x"},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	ids := []spanid.TraceID{{1}, {2}}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ctx := NewPeer(canned{data}, "odd"), t.Context()
		if held, err := p.Holds(ctx, ids, ""); err == nil && len(held) != len(ids) {
			t.Errorf("%d answers about %d traces", len(held), len(ids))
		}
		full := errors.New("no room")
		taken := int64(0)
		frags, err := p.Fragments(ctx, query.FragmentsRequest{IDs: ids}, func(n int64) error {
			if taken += n; taken > 1<<20 {
				return full
			}
			return nil
		})
		if err == nil {
			for i := range frags.Spans {
				if s := &frags.Spans[i]; int(s.Resource) >= len(frags.Resources) || int(s.Scope) >= len(frags.Scopes) {
					t.Error("a span points outside of its batch")
				}
			}
		}
		columns, err := p.Columns(ctx, query.ColumnsRequest{IDs: ids, Columns: gathered.Base}, func(int64) error { return nil })
		if err == nil && columns.Traces != len(ids) {
			t.Errorf("columns of %d traces", columns.Traces)
		}
		if _, held, err := p.SearchTraces(ctx, query.SearchRequest{Query: "{}"}, ids); err == nil && len(held) != len(ids) {
			t.Errorf("%d answers about %d traces", len(held), len(ids))
		}
		if c, err := p.Candidates(ctx, query.CandidatesRequest{Search: &query.SearchRequest{}}); err == nil && c == nil {
			t.Error("neither candidates nor an error")
		}
		if m, err := p.MetricsPartial(ctx, query.MetricsRequest{}, query.Share{}); err == nil && m == nil {
			t.Error("neither sums nor an error")
		}
		if res, err := newest(ctx, p, query.SearchRequest{Query: "{}"}, query.Share{}); err == nil && res == nil {
			t.Error("neither traces nor an error")
		}
		for _, err := range []error{
			func() error { _, _, err := p.Strays(ctx, &query.Ring{}, ""); return err }(),
			func() error {
				_, err := p.Candidates(ctx, query.CandidatesRequest{Names: &query.TagNamesRequest{}})
				return err
			}(),
			func() error { _, err := p.TagNames(ctx, query.TagNamesRequest{}, query.Share{}); return err }(),
			func() error { _, err := p.TagValues(ctx, query.TagValuesRequest{}, query.Share{}); return err }(),
		} {
			if k := query.KindOf(err); err != nil && k == query.KindInvalid {
				t.Errorf("a peer's bad answer is blamed on the query: %v", err)
			}
		}
	})
}
