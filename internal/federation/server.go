package federation

import (
	"cmp"
	"context"
	"encoding"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store"
)

// pieceBytes is about how large the messages of an answer are.
const pieceBytes = 256 << 10

// Server answers other agents from a service's own store.
type Server struct {
	peerpb.UnimplementedPeerServer

	service        *query.Service
	node, instance string
}

// NewServer returns a server. node is the name for people, instance is different for every process.
func NewServer(s *query.Service, node, instance string) *Server {
	return &Server{service: s, node: node, instance: instance}
}

// Register makes the service part of r.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	peerpb.RegisterPeerServer(r, s)
	peerpb.RegisterLinesServer(r, &lineServer{peer: s})
}

// Hello implements peerpb.PeerServer.
func (s *Server) Hello(context.Context, *peerpb.HelloRequest) (*peerpb.HelloResponse, error) {
	return &peerpb.HelloResponse{Node: s.node, Instance: s.instance, Protocol: protocol}, nil
}

// bulkTraces is how many traces are read together.
const bulkTraces = 64

const (
	fragments = "fragments"
	// damageTrailer is the metadata after an answer that is without damaged parts of the store, and says which.
	damageTrailer = "bramble-damage-bin"
)

// serve runs f with the local store and gives its error a code.
func (s *Server) serve(ctx context.Context, kind string, q *peerpb.Query, f func(ctx context.Context, p query.Peer) error) error {
	var strays error // Which is no failure of a query.
	damage, err := s.service.ServePeer(ctx, query.PeerRequest{
		Kind: kind, Query: q.GetText(), Client: q.GetClient(), StartNano: q.GetStartNano(), EndNano: q.GetEndNano(),
	}, func(ctx context.Context, p query.Peer) error {
		err := f(ctx, p)
		if errors.Is(err, query.ErrStrays) {
			strays, err = err, nil
		}
		return err
	})
	if err == nil {
		err = strays
	}
	if err == nil && damage != "" && kind != fragments { // Fragments say it of each trace.
		err = grpc.SetTrailer(ctx, metadata.Pairs(damageTrailer, damage))
	}
	return toStatus(err)
}

// Holds implements peerpb.PeerServer.
func (s *Server) Holds(ctx context.Context, r *peerpb.HoldsRequest) (*peerpb.HoldsResponse, error) {
	ids, err := readIDs(r.GetTraceIds())
	if err != nil {
		return nil, toStatus(err)
	}
	out := &peerpb.HoldsResponse{}
	err = s.serve(ctx, "holds", &peerpb.Query{Client: r.GetClient()}, func(ctx context.Context, p query.Peer) error {
		held, err := p.Holds(ctx, ids, r.GetClient())
		out.Held = packBools(held)
		return err
	})
	return out, err
}

// Fragments implements peerpb.PeerServer. It sends spans in messages of about pieceBytes.
func (s *Server) Fragments(r *peerpb.FragmentsRequest, stream grpc.ServerStreamingServer[peerpb.FragmentsResponse]) error {
	ids, err := readIDs(r.GetTraceIds())
	if err != nil {
		return toStatus(err)
	}
	kind, portion := fragments, 1
	if r.GetBulk() {
		kind, portion = "spans", bulkTraces
	}
	return s.serve(stream.Context(), kind, &peerpb.Query{Client: r.GetClient()}, func(ctx context.Context, p query.Peer) error {
		out := &peerpb.FragmentsResponse{}
		send := func() error {
			m := out
			out = &peerpb.FragmentsResponse{}
			return stream.Send(m)
		}
		for some := range slices.Chunk(ids, portion) {
			f, err := p.Fragments(ctx, query.FragmentsRequest{IDs: some, MaxTraceBytes: r.GetMaxTraceBytes(), Bulk: r.GetBulk()}, func(int64) error { return nil })
			if err != nil {
				return err
			}
			if r.GetBulk() { // So that each resource is sent once.
				slices.SortFunc(f.Spans, func(a, b store.Span) int {
					return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Scope, b.Scope))
				})
			}
			// Messages of OTLP TracesData that follow each other are one message.
			if out.Spans, err = otlpspan.AppendProto(out.Spans, &f.Batch); err != nil {
				return err
			}
			out.InspectedBytes += f.InspectedBytes
			if f.Partial != "" {
				out.Partial = f.Partial
			}
			if f.Missing != "" {
				out.Missing = valid(f.Missing)
			}
			if len(out.GetSpans()) >= pieceBytes {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return send()
	})
}

// Columns implements peerpb.PeerServer.
func (s *Server) Columns(r *peerpb.ColumnsRequest, stream grpc.ServerStreamingServer[peerpb.Chunk]) error {
	ids, err := readIDs(r.GetTraceIds())
	if err != nil {
		return toStatus(err)
	}
	cols, err := unpackColumns(r.GetColumns())
	if err != nil {
		return toStatus(err)
	}
	return s.serve(stream.Context(), "columns", &peerpb.Query{Client: r.GetClient()}, func(ctx context.Context, p query.Peer) error {
		res, err := p.Columns(ctx, query.ColumnsRequest{IDs: ids, Columns: cols}, func(int64) error { return nil })
		if err != nil {
			return err
		}
		return sendPieces(res, func(data []byte) error { return stream.Send(&peerpb.Chunk{Data: data}) })
	})
}

// Candidates implements peerpb.PeerServer.
func (s *Server) Candidates(r *peerpb.CandidatesRequest, stream grpc.ServerStreamingServer[peerpb.CandidatesResponse]) error {
	q, err := unpackCandidates(r)
	if err != nil {
		return toStatus(err)
	}
	return s.serve(stream.Context(), "candidates", r.GetQuery(), func(ctx context.Context, p query.Peer) error {
		res, err := p.Candidates(ctx, q)
		if err != nil {
			return err
		}
		const portion = pieceBytes / idBytes
		for list := res.Candidates; ; {
			n := min(portion, len(list))
			m := &peerpb.CandidatesResponse{TraceIds: make([]byte, 0, n*idBytes), Rest: uint64(max(0, res.Rest))}
			if q.Search != nil {
				m.Bounds = make([]uint64, n)
			}
			for i, c := range list[:n] {
				m.TraceIds = append(m.TraceIds, c.ID[:]...)
				if m.Bounds != nil {
					m.Bounds[i] = uint64(c.Bound) //nolint:gosec // And back.
				}
			}
			if list = list[n:]; len(list) == 0 {
				return stream.Send(m)
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	})
}

// Strays implements peerpb.PeerServer.
func (s *Server) Strays(ctx context.Context, r *peerpb.StraysRequest) (*peerpb.StraysResponse, error) {
	ring, err := unpackRing(r.GetRing())
	if err != nil {
		return nil, toStatus(err)
	}
	out := &peerpb.StraysResponse{}
	err = s.serve(ctx, "strays", &peerpb.Query{Client: r.GetClient()}, func(ctx context.Context, p query.Peer) error {
		ids, many, err := p.Strays(ctx, ring, r.GetClient())
		if out.Many = many; !many {
			out.TraceIds = packIDs(ids)
		}
		return err
	})
	return out, err
}

// Search implements peerpb.PeerServer.
func (s *Server) Search(r *peerpb.SearchRequest, stream grpc.ServerStreamingServer[peerpb.SearchResponse]) error {
	ids, err := readIDs(r.GetTraceIds())
	if err != nil {
		return toStatus(err)
	}
	q := searchOf(r.GetQuery())
	q.SpansPerSpanSet = int(r.GetSpansPerSpanSet())
	return s.serve(stream.Context(), "search", r.GetQuery(), func(ctx context.Context, p query.Peer) error {
		res, held, err := p.SearchTraces(ctx, q, ids)
		if err != nil {
			return err
		}
		first := packBools(held)
		return sendPieces(res, func(data []byte) error {
			m := &peerpb.SearchResponse{Data: data, Held: first}
			first = nil
			return stream.Send(m)
		})
	})
}

// sendPieces encodes a result and sends it in pieces, one at least.
func sendPieces(res encoding.BinaryMarshaler, send func([]byte) error) error {
	data, err := res.MarshalBinary()
	if err != nil {
		return err
	}
	for {
		n := min(pieceBytes, len(data))
		if err := send(data[:n:n]); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// Metrics implements peerpb.PeerServer.
func (s *Server) Metrics(r *peerpb.MetricsRequest, stream grpc.ServerStreamingServer[peerpb.Chunk]) error {
	share, err := unpackShare(r.GetShare())
	if err != nil {
		return toStatus(err)
	}
	q := metricsOf(r.GetQuery())
	q.Step, q.Instant, q.Exemplars = time.Duration(r.GetStepNano()), r.GetInstant(), int(r.GetExemplars())
	return s.serve(stream.Context(), "metrics", r.GetQuery(), func(ctx context.Context, p query.Peer) error {
		res, err := p.MetricsPartial(ctx, q, share)
		if err != nil {
			return err
		}
		return sendPieces(res, func(data []byte) error { return stream.Send(&peerpb.Chunk{Data: data}) })
	})
}

// TagNames implements peerpb.PeerServer.
func (s *Server) TagNames(ctx context.Context, r *peerpb.TagsRequest) (*peerpb.TagNamesResponse, error) {
	share, err := unpackShare(r.GetShare())
	if err != nil {
		return nil, toStatus(err)
	}
	q := namesOf(r.GetQuery())
	q.Scope, q.Limit = r.GetScope(), int(r.GetLimit())
	out := &peerpb.TagNamesResponse{}
	err = s.serve(ctx, "names", r.GetQuery(), func(ctx context.Context, p query.Peer) error {
		res, err := p.TagNames(ctx, q, share)
		if err != nil {
			return err
		}
		out.Stats = packStats(res.Stats)
		for _, sc := range res.Scopes {
			out.Scopes = append(out.Scopes, &peerpb.TagNamesResponse_Scope{Name: sc.Scope, Tags: validAll(sc.Names)})
		}
		return nil
	})
	return out, err
}

// TagValues implements peerpb.PeerServer.
func (s *Server) TagValues(r *peerpb.TagsRequest, stream grpc.ServerStreamingServer[peerpb.TagValuesResponse]) error {
	share, err := unpackShare(r.GetShare())
	if err != nil {
		return toStatus(err)
	}
	q := valuesOf(r.GetQuery())
	q.Name, q.Unscoped, q.Limit = r.GetName(), r.GetUnscoped(), int(r.GetLimit())
	return s.serve(stream.Context(), "values", r.GetQuery(), func(ctx context.Context, p query.Peer) error {
		res, err := p.TagValues(ctx, q, share)
		if err != nil {
			return err
		}
		m, n := &peerpb.TagValuesResponse{Stats: packStats(res.Stats)}, 0
		for _, v := range res.Values {
			m.Types, m.Values = append(m.Types, v.Type), append(m.Values, valid(v.Value))
			if n += len(v.Value) + len(v.Type); n >= pieceBytes {
				if err := stream.Send(m); err != nil {
					return err
				}
				m, n = &peerpb.TagValuesResponse{}, 0
			}
		}
		return stream.Send(m)
	})
}
