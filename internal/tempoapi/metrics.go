package tempoapi

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// queryRange answers /api/metrics/query_range, always in JSON (M-01, C-07).
func (a *API) queryRange(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := a.rangeParams(r)
	if err != nil {
		return err
	}
	res, err := a.service.Metrics(r.Context(), q)
	if err != nil {
		return err
	}
	return a.write(w, r, typeJSON, rangeJSON(rangeMessage(res)))
}

// queryInstant answers /api/metrics/query, always in JSON (M-02).
func (a *API) queryInstant(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := a.instantParams(r)
	if err != nil {
		return err
	}
	res, err := a.service.Metrics(r.Context(), q)
	if err != nil {
		return err
	}
	return a.write(w, r, typeJSON, instantJSON(instantMessage(res)))
}

// MetricsQueryRange is the streaming form of /api/metrics/query_range: samples that are final as they come, then all
//
func (a *API) MetricsQueryRange(m *tempopb.QueryRangeRequest, stream grpc.ServerStreamingServer[tempopb.QueryRangeResponse]) error {
	q, err := a.protoRange(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.service.MetricsStream(stream.Context(), q, func(interim *query.MetricsResult) error {
		return splitRange(rangeMessage(interim), stream.Send)
	})
	if err != nil {
		return grpcError(err)
	}
	return splitRange(rangeMessage(res), stream.Send)
}

// MetricsQueryInstant is the streaming form of /api/metrics/query. There is nothing to say before the end: each message
// replaces the one before, and the value of a part of the range is not that of the range.
func (a *API) MetricsQueryInstant(m *tempopb.QueryInstantRequest, stream grpc.ServerStreamingServer[tempopb.QueryInstantResponse]) error {
	q, err := a.protoInstant(m, streamClient(stream))
	if err != nil {
		return grpcError(err)
	}
	res, err := a.service.Metrics(stream.Context(), q)
	if err != nil {
		return grpcError(err)
	}
	return splitInstant(instantMessage(res), stream.Send)
}

func rangeMessage(res *query.MetricsResult) *tempopb.QueryRangeResponse {
	m := &tempopb.QueryRangeResponse{Metrics: searchStats(res.Stats), Series: make([]*tempopb.TimeSeries, len(res.Series))}
	m.Status, m.Message = partial(res)
	for i := range res.Series {
		s := &res.Series[i]
		out := &tempopb.TimeSeries{Labels: attributes(s.Labels), Samples: make([]*tempopb.Sample, len(s.Samples))}
		for k, p := range s.Samples {
			out.Samples[k] = &tempopb.Sample{TimestampMs: p.TimeMillis, Value: p.Value}
		}
		for _, e := range s.Exemplars {
			out.Exemplars = append(out.Exemplars, &tempopb.Exemplar{Labels: attributes(e.Labels), Value: e.Value, TimestampMs: e.TimeMillis})
		}
		m.Series[i] = out
	}
	return m
}

// instantMessage leaves out series without a value.
func instantMessage(res *query.MetricsResult) *tempopb.QueryInstantResponse {
	m := &tempopb.QueryInstantResponse{Metrics: searchStats(res.Stats)}
	m.Status, m.Message = partial(res)
	for i := range res.Series {
		if s := &res.Series[i]; len(s.Samples) > 0 {
			m.Series = append(m.Series, &tempopb.InstantSeries{Labels: attributes(s.Labels), Value: s.Samples[0].Value})
		}
	}
	return m
}

func partial(res *query.MetricsResult) (tempopb.PartialStatus, string) {
	if res.Partial == "" {
		return tempopb.PartialStatus_COMPLETE, ""
	}
	return tempopb.PartialStatus_PARTIAL, valid(res.Partial)
}
