package tempoapi

import (
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// maxMessage is how large a message of a stream may be; clients refuse 4 MiB.
const maxMessage = 2 << 20

// overhead is room for metrics, status, message and the framing of one element.
const overhead = 4 << 10

// split cuts a list into consecutive pieces whose encodings stay below the limit, and calls send for each; for an
// empty list once. An element that is larger than the limit is sent alone.
func split[T any](list []T, size func(T) int, send func(piece []T, last bool) error) error {
	for start := 0; ; {
		end, total := start, overhead
		for end < len(list) {
			n := size(list[end]) + 8
			if end > start && total+n > maxMessage {
				break
			}
			total += n
			end++
		}
		last := end == len(list)
		if err := send(list[start:end], last); err != nil || last {
			return err
		}
		start = end
	}
}

func protoSize[M proto.Message](m M) int { return proto.Size(m) }

func stringSize(s string) int { return len(s) }

// splitSearch sends an answer in messages of bearable size; together they are the complete result.
func splitSearch(m *tempopb.SearchResponse, send func(*tempopb.SearchResponse) error) error {
	return split(m.GetTraces(), protoSize[*tempopb.TraceSearchMetadata], func(piece []*tempopb.TraceSearchMetadata, _ bool) error {
		return send(&tempopb.SearchResponse{Traces: piece, Metrics: m.GetMetrics()})
	})
}

func splitTags(m *tempopb.SearchTagsResponse, send func(*tempopb.SearchTagsResponse) error) error {
	return split(m.GetTagNames(), stringSize, func(piece []string, _ bool) error {
		return send(&tempopb.SearchTagsResponse{TagNames: piece, Metrics: m.GetMetrics()})
	})
}

// splitTagsV2 repeats a scope in several messages if its tags do not fit into one.
func splitTagsV2(m *tempopb.SearchTagsV2Response, send func(*tempopb.SearchTagsV2Response) error) error {
	type tag struct{ scope, name string }
	var all []tag
	for _, s := range m.GetScopes() {
		for _, t := range s.GetTags() {
			all = append(all, tag{s.GetName(), t})
		}
	}
	return split(all, func(t tag) int { return len(t.name) }, func(piece []tag, _ bool) error {
		out := &tempopb.SearchTagsV2Response{Metrics: m.GetMetrics()}
		for _, t := range piece {
			n := len(out.GetScopes())
			if n == 0 || out.Scopes[n-1].GetName() != t.scope {
				out.Scopes = append(out.Scopes, &tempopb.SearchTagsV2Scope{Name: t.scope})
				n++
			}
			out.Scopes[n-1].Tags = append(out.Scopes[n-1].Tags, t.name)
		}
		return send(out)
	})
}

func splitValues(m *tempopb.SearchTagValuesResponse, send func(*tempopb.SearchTagValuesResponse) error) error {
	return split(m.GetTagValues(), stringSize, func(piece []string, _ bool) error {
		return send(&tempopb.SearchTagValuesResponse{TagValues: piece, Metrics: m.GetMetrics()})
	})
}

func splitValuesV2(m *tempopb.SearchTagValuesV2Response, send func(*tempopb.SearchTagValuesV2Response) error) error {
	return split(m.GetTagValues(), protoSize[*tempopb.TagValue], func(piece []*tempopb.TagValue, _ bool) error {
		return send(&tempopb.SearchTagValuesV2Response{TagValues: piece, Metrics: m.GetMetrics()})
	})
}

// splitRange puts status and message on the last message only.
func splitRange(m *tempopb.QueryRangeResponse, send func(*tempopb.QueryRangeResponse) error) error {
	return split(m.GetSeries(), protoSize[*tempopb.TimeSeries], func(piece []*tempopb.TimeSeries, last bool) error {
		out := &tempopb.QueryRangeResponse{Series: piece, Metrics: m.GetMetrics()}
		if last {
			out.Status, out.Message = m.GetStatus(), m.GetMessage()
		}
		return send(out)
	})
}

// splitInstant must not split: each message replaces the one before. What is too large is cut and said to be.
func splitInstant(m *tempopb.QueryInstantResponse, send func(*tempopb.QueryInstantResponse) error) error {
	total := overhead
	for i, s := range m.GetSeries() {
		if total += proto.Size(s) + 8; total > maxMessage {
			message := "the answer is larger than a message may be; some series are left out"
			return send(&tempopb.QueryInstantResponse{
				Series: m.GetSeries()[:i], Metrics: m.GetMetrics(), Status: tempopb.PartialStatus_PARTIAL, Message: message,
			})
		}
	}
	return send(m)
}
