package federation

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/bramble-tracing/bramble/internal/federation/peerpb"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// remote asks one agent.
type remote struct {
	client peerpb.PeerClient
	node   string
	// up ends when the agent is given up.
	up context.Context //nolint:containedctx // The lifetime of a peer, which calls must not outlive.
}

var _ query.Peer = (*remote)(nil)

// NewPeer returns a peer behind a connection, which it does not own.
func NewPeer(conn grpc.ClientConnInterface, node string) query.Peer {
	return &remote{client: peerpb.NewPeerClient(conn), node: node, up: context.Background()}
}

// Node implements query.Peer.
func (p *remote) Node() string { return p.node }

// damage notes what the trailer of an answer says about damage.
func damage(ctx context.Context, trailer *metadata.MD) {
	for _, text := range trailer.Get(damageTrailer) {
		query.NoteDamage(ctx, valid(text))
	}
}

// call runs f with a context that ends also when the peer is given up, and makes its error one of the query service.
func (p *remote) call(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(p.up, func() { cancel(context.Cause(p.up)) }) //nolint:contextcheck // The peer's own, which ends when it is given up.
	defer stop()
	err := f(ctx)
	if err != nil && p.up.Err() != nil {
		return context.Cause(p.up) //nolint:contextcheck // As above.
	}
	return fromStatus(err)
}

// Holds implements query.Peer.
func (p *remote) Holds(ctx context.Context, ids []spanid.TraceID, client string) (out []bool, err error) {
	err = p.call(ctx, func(ctx context.Context) error {
		res, err := p.client.Holds(ctx, &peerpb.HoldsRequest{TraceIds: packIDs(ids), Client: valid(client)})
		if err != nil {
			return err
		}
		out, err = unpackBools(res.GetHeld(), len(ids))
		return err
	})
	return out, err
}

// receiver is the receiving side of a stream.
type receiver[M any] interface {
	Recv() (*M, error)
	Context() context.Context
	Trailer() metadata.MD
}

// receive calls f for every message, and notes at the end what the peer says about damage.
func receive[M any](s receiver[M], err error, f func(*M) error) error {
	for err == nil {
		var m *M
		if m, err = s.Recv(); err == nil {
			err = f(m)
		}
	}
	if errors.Is(err, io.EOF) {
		trailer := s.Trailer()
		damage(s.Context(), &trailer)
		return nil
	}
	return err
}

// Fragments implements query.Peer.
func (p *remote) Fragments(ctx context.Context, r query.FragmentsRequest, take func(int64) error) (*query.Fragments, error) {
	out := &query.Fragments{}
	err := p.call(ctx, func(ctx context.Context) error {
		stream, err := p.client.Fragments(ctx, &peerpb.FragmentsRequest{
			TraceIds: packIDs(r.IDs), MaxTraceBytes: r.MaxTraceBytes, Client: valid(r.Client), Bulk: r.Bulk,
		})
		return receive(stream, err, func(m *peerpb.FragmentsResponse) error {
			out.InspectedBytes += m.GetInspectedBytes()
			if m.GetPartial() != "" {
				out.Partial = m.GetPartial()
			}
			if m.GetMissing() != "" {
				out.Missing = p.node + ": " + m.GetMissing()
			}
			var b store.Batch
			if err := otlpspan.ReadProto(m.GetSpans(), &b); err != nil {
				return fmt.Errorf("decode spans of a peer: %w", err)
			}
			if err := take(gathered.Weight(&b)); err != nil {
				return err
			}
			out.Append(&b)
			return nil
		})
	})
	return out, err
}

// columnCopies is how many bytes decoded columns take at most for each byte on the wire.
const columnCopies = 9

// Columns implements query.Peer.
func (p *remote) Columns(ctx context.Context, r query.ColumnsRequest, take func(int64) error) (*gathered.Columns, error) {
	out := &gathered.Columns{}
	err := p.call(ctx, func(ctx context.Context) error {
		var all pieces
		stream, err := p.client.Columns(ctx, &peerpb.ColumnsRequest{TraceIds: packIDs(r.IDs), Columns: packColumns(r.Columns), Client: valid(r.Client)})
		err = receive(stream, err, func(m *peerpb.Chunk) error {
			if err := take(int64(len(m.GetData())) * columnCopies); err != nil {
				return err
			}
			return all.add(m.GetData())
		})
		if err != nil {
			return err
		}
		return out.Read(all.data, r.Columns, len(r.IDs))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Candidates implements query.Peer.
func (p *remote) Candidates(ctx context.Context, r query.CandidatesRequest) (*exec.CandidateList, error) {
	out := &exec.CandidateList{}
	err := p.call(ctx, func(ctx context.Context) error {
		stream, err := p.client.Candidates(ctx, packCandidates(&r))
		return receive(stream, err, func(m *peerpb.CandidatesResponse) error {
			ids, err := listedIDs(m.GetTraceIds())
			if err != nil {
				return err
			}
			if r.Search != nil && len(m.GetBounds()) != len(ids) {
				return fmt.Errorf("the peer gave %d bounds of %d traces", len(m.GetBounds()), len(ids))
			}
			for i, id := range ids {
				c := exec.Candidate{ID: id}
				if r.Search != nil {
					c.Bound = int64(m.GetBounds()[i]) //nolint:gosec // As it was.
				}
				out.Candidates = append(out.Candidates, c)
			}
			out.Rest = int64(m.GetRest()) //nolint:gosec // As it was.
			return nil
		})
	})
	return out, err
}

// Strays implements query.Peer.
func (p *remote) Strays(ctx context.Context, r *query.Ring, client string) (ids []spanid.TraceID, many bool, err error) {
	err = p.call(ctx, func(ctx context.Context) error {
		res, err := p.client.Strays(ctx, &peerpb.StraysRequest{Ring: packRing(r), Client: valid(client)})
		if err != nil {
			return err
		}
		many = res.GetMany()
		ids, err = listedIDs(res.GetTraceIds())
		return err
	})
	return ids, many, err
}

// maxResult bounds the bytes of one encoded result.
const maxResult = 256 << 20

// pieces puts a result together.
type pieces struct{ data []byte }

func (p *pieces) add(data []byte) error {
	if len(p.data)+len(data) > maxResult {
		return fmt.Errorf("the peer's result has more than %d MiB: %w", maxResult>>20, exec.ErrBudget)
	}
	p.data = append(p.data, data...)
	return nil
}

func (p *pieces) decode(res encoding.BinaryUnmarshaler, err error) error {
	if err != nil {
		return err
	}
	return res.UnmarshalBinary(p.data)
}

// SearchTraces implements query.Peer.
func (p *remote) SearchTraces(ctx context.Context, r query.SearchRequest, ids []spanid.TraceID) (*exec.SearchResult, []bool, error) {
	out := &exec.SearchResult{}
	var held []byte
	err := p.call(ctx, func(ctx context.Context) error {
		var all pieces
		stream, err := p.client.Search(ctx, &peerpb.SearchRequest{
			Query: packSearch(&r), SpansPerSpanSet: int64(r.SpansPerSpanSet), TraceIds: packIDs(ids),
		})
		return all.decode(out, receive(stream, err, func(m *peerpb.SearchResponse) error {
			held = append(held, m.GetHeld()...)
			return all.add(m.GetData())
		}))
	})
	if err != nil {
		return nil, nil, err
	}
	list, err := unpackBools(held, len(ids))
	return out, list, err
}

// MetricsPartial implements query.Peer.
func (p *remote) MetricsPartial(ctx context.Context, r query.MetricsRequest, s query.Share) (*exec.Partial, error) {
	out := &exec.Partial{}
	err := p.call(ctx, func(ctx context.Context) error {
		var all pieces
		stream, err := p.client.Metrics(ctx, &peerpb.MetricsRequest{
			Query: packText(r.Query, r.StartNano, r.EndNano, r.Client), StepNano: int64(r.Step), Instant: r.Instant,
			Exemplars: int64(r.Exemplars), Share: packShare(s),
		})
		return all.decode(out, receive(stream, err, func(m *peerpb.Chunk) error { return all.add(m.GetData()) }))
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// TagNames implements query.Peer.
func (p *remote) TagNames(ctx context.Context, r query.TagNamesRequest, s query.Share) (*exec.TagNamesResult, error) {
	out := &exec.TagNamesResult{}
	err := p.call(ctx, func(ctx context.Context) error {
		var trailer metadata.MD
		res, err := p.client.TagNames(ctx, &peerpb.TagsRequest{
			Query: packText(r.Query, r.StartNano, r.EndNano, r.Client), Scope: r.Scope, Limit: int64(r.Limit), Share: packShare(s),
		}, grpc.Trailer(&trailer))
		if err != nil {
			return err
		}
		damage(ctx, &trailer)
		out.Stats = unpackStats(res.GetStats())
		for _, sc := range res.GetScopes() {
			out.Scopes = append(out.Scopes, exec.ScopeTags{Scope: sc.GetName(), Names: sc.GetTags()})
		}
		return nil
	})
	return out, err
}

// TagValues implements query.Peer.
func (p *remote) TagValues(ctx context.Context, r query.TagValuesRequest, s query.Share) (*exec.TagValuesResult, error) {
	out := &exec.TagValuesResult{}
	err := p.call(ctx, func(ctx context.Context) error {
		stream, err := p.client.TagValues(ctx, &peerpb.TagsRequest{
			Query: packText(r.Query, r.StartNano, r.EndNano, r.Client), Name: r.Name, Unscoped: r.Unscoped,
			Limit: int64(r.Limit), Share: packShare(s),
		})
		return receive(stream, err, func(m *peerpb.TagValuesResponse) error {
			if len(m.GetTypes()) != len(m.GetValues()) {
				return fmt.Errorf("the peer gave %d types of %d values", len(m.GetTypes()), len(m.GetValues()))
			}
			for i, v := range m.GetValues() {
				out.Values = append(out.Values, exec.TagValue{Type: m.GetTypes()[i], Value: v})
			}
			out.Stats.Add(unpackStats(m.GetStats()))
			return nil
		})
	})
	return out, err
}
