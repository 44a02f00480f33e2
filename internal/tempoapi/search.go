package tempoapi

import (
	"math"
	"net/http"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// search answers /api/search (contract 1.3).
func (a *API) search(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := a.searchParams(r)
	if err != nil {
		return err
	}
	res, err := a.service.Search(r.Context(), q)
	if err != nil {
		return err
	}
	notePartial(w, res.Partial)
	m := searchMessage(res)
	return writeAs(a, w, r, m, searchJSON)
}

// writeAs sends a message as protobuf if that is asked for, else as JSON (C-07).
func writeAs[M proto.Message](a *API, w http.ResponseWriter, r *http.Request, m M, encode func(M) []byte) error {
	if formatOf(r) != formatProto {
		return a.write(w, r, typeJSON, encode(m))
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return a.write(w, r, typeProto, body)
}

// Search is the streaming form of search: traces that are settled as they come, then all.
func (a *API) Search(m *tempopb.SearchRequest, stream grpc.ServerStreamingServer[tempopb.SearchResponse]) error {
	q, err := a.protoSearch(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.service.SearchStream(stream.Context(), q, func(interim *query.SearchResult) error {
		return splitSearch(searchMessage(interim), stream.Send)
	})
	if err != nil {
		return grpcError(err)
	}
	tellPartial(stream, res.Partial)
	return splitSearch(searchMessage(res), stream.Send)
}

func searchMessage(res *query.SearchResult) *tempopb.SearchResponse {
	m := &tempopb.SearchResponse{Metrics: searchStats(res.Stats), Traces: make([]*tempopb.TraceSearchMetadata, len(res.Traces))}
	for i := range res.Traces {
		m.Traces[i] = traceMessage(&res.Traces[i])
	}
	return m
}

// searchStats fills the metrics.
func searchStats(s query.Stats) *tempopb.SearchMetrics {
	return &tempopb.SearchMetrics{
		InspectedTraces: clamp32(s.Traces), InspectedBytes: s.Bytes, InspectedSpans: s.Spans,
		CompletedJobs: s.Completed, TotalJobs: s.Jobs,
	}
}

// traceMessage writes trace ids with all 32 digits, which every client takes (C-21).
func traceMessage(t *query.TraceRow) *tempopb.TraceSearchMetadata {
	m := &tempopb.TraceSearchMetadata{
		TraceID: t.ID.String(), RootServiceName: valid(t.RootService), RootTraceName: valid(t.RootName),
		StartTimeUnixNano: t.StartNano, DurationMs: clamp32(t.DurationNano / 1e6), // S-31
		ServiceStats: make(map[string]*tempopb.ServiceStats, len(t.ServiceStats)),
	}
	for name, n := range t.ServiceStats {
		m.ServiceStats[valid(name)] = &tempopb.ServiceStats{SpanCount: count32(n.Spans), ErrorCount: count32(n.Errors)}
	}
	for i := range t.Spansets {
		m.SpanSets = append(m.SpanSets, spanSetMessage(&t.Spansets[i]))
	}
	if len(m.GetSpanSets()) > 0 { // S-22
		m.SpanSet = m.GetSpanSets()[0]
	}
	return m
}

func spanSetMessage(s *query.Spanset) *tempopb.SpanSet {
	m := &tempopb.SpanSet{Matched: count32(s.Matched), Attributes: attributes(s.Attrs), Spans: make([]*tempopb.Span, len(s.Spans))}
	for i := range s.Spans {
		p := &s.Spans[i]
		m.Spans[i] = &tempopb.Span{
			SpanID: p.ID.String(), Name: valid(p.Name), StartTimeUnixNano: p.StartNano, DurationNanos: p.DurationNano, Attributes: attributes(p.Attrs),
		}
	}
	return m
}

func attributes(attrs []store.Attr) []*commonv1.KeyValue {
	if len(attrs) == 0 {
		return nil
	}
	out := make([]*commonv1.KeyValue, len(attrs))
	for i, a := range attrs {
		out[i] = keyValue(a.Key, a.Value)
	}
	return out
}

func clamp32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

func count32(n int) uint32 { return clamp32(uint64(max(0, n))) }
