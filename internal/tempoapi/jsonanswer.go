package tempoapi

import (
	"maps"
	"slices"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// statusNames are the names of tempopb.PartialStatus.
var statusNames = []string{"COMPLETE", "PARTIAL"}

// searchJSON is S-20 to S-32: traces and metrics are always there.
func searchJSON(m *tempopb.SearchResponse) []byte {
	var w jsonWriter
	w.object()
	w.openField("traces", '[')
	for _, t := range m.GetTraces() {
		w.traceRow(t)
	}
	w.close(']')
	w.searchMetrics(m.GetMetrics())
	w.close('}')
	return w.b
}

func (w *jsonWriter) traceRow(t *tempopb.TraceSearchMetadata) {
	w.object()
	w.stringField("traceID", t.GetTraceID())
	w.stringField("rootServiceName", t.GetRootServiceName())
	w.stringField("rootTraceName", t.GetRootTraceName())
	w.uint64Field("startTimeUnixNano", t.GetStartTimeUnixNano())
	w.uint32Field("durationMs", t.GetDurationMs())
	if s := t.GetSpanSet(); s != nil {
		w.key("spanSet")
		w.spanSet(s)
	}
	if sets := t.GetSpanSets(); len(sets) > 0 {
		w.openField("spanSets", '[')
		for _, s := range sets {
			w.spanSet(s)
		}
		w.close(']')
	}
	w.serviceStats(t.GetServiceStats())
	w.close('}')
}

func (w *jsonWriter) serviceStats(stats map[string]*tempopb.ServiceStats) {
	if len(stats) == 0 {
		return
	}
	w.openField("serviceStats", '{')
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		w.text(name)
		w.b = append(w.b, ':', '{')
		w.uint32Field("spanCount", stats[name].GetSpanCount())
		w.uint32Field("errorCount", stats[name].GetErrorCount())
		w.close('}')
	}
	w.close('}')
}

func (w *jsonWriter) spanSet(s *tempopb.SpanSet) {
	w.object()
	if spans := s.GetSpans(); len(spans) > 0 {
		w.openField("spans", '[')
		for _, p := range spans {
			w.object()
			w.stringField("spanID", p.GetSpanID())
			w.stringField("name", p.GetName())
			w.uint64Field("startTimeUnixNano", p.GetStartTimeUnixNano())
			w.uint64Field("durationNanos", p.GetDurationNanos())
			w.keyValues("attributes", p.GetAttributes())
			w.close('}')
		}
		w.close(']')
	}
	w.uint32Field("matched", s.GetMatched())
	w.keyValues("attributes", s.GetAttributes())
	w.close('}')
}

func (w *jsonWriter) searchMetrics(m *tempopb.SearchMetrics) {
	w.openField("metrics", '{')
	w.uint32Field("inspectedTraces", m.GetInspectedTraces())
	w.uint64Field("inspectedBytes", m.GetInspectedBytes())
	w.uint32Field("totalBlocks", m.GetTotalBlocks())
	w.uint32Field("completedJobs", m.GetCompletedJobs())
	w.uint32Field("totalJobs", m.GetTotalJobs())
	w.uint64Field("totalBlockBytes", m.GetTotalBlockBytes())
	w.uint64Field("inspectedSpans", m.GetInspectedSpans())
	w.close('}')
}

func (w *jsonWriter) metadataMetrics(m *tempopb.MetadataMetrics) {
	w.openField("metrics", '{')
	w.uint64Field("inspectedBytes", m.GetInspectedBytes())
	w.uint32Field("totalJobs", m.GetTotalJobs())
	w.uint32Field("completedJobs", m.GetCompletedJobs())
	w.uint32Field("totalBlocks", m.GetTotalBlocks())
	w.uint64Field("totalBlockBytes", m.GetTotalBlockBytes())
	w.close('}')
}

// tagsJSON is G-01.
func tagsJSON(m *tempopb.SearchTagsResponse) []byte {
	return listJSON("tagNames", m.GetTagNames(), m.GetMetrics())
}

// valuesJSON is V-01.
func valuesJSON(m *tempopb.SearchTagValuesResponse) []byte {
	return listJSON("tagValues", m.GetTagValues(), m.GetMetrics())
}

func listJSON(key string, list []string, m *tempopb.MetadataMetrics) []byte {
	var w jsonWriter
	w.object()
	w.openField(key, '[')
	for _, s := range list {
		w.text(s)
	}
	w.close(']')
	w.metadataMetrics(m)
	w.close('}')
	return w.b
}

// tagsV2JSON is G-02.
func tagsV2JSON(m *tempopb.SearchTagsV2Response) []byte {
	var w jsonWriter
	w.object()
	w.openField("scopes", '[')
	for _, s := range m.GetScopes() {
		w.object()
		w.stringField("name", s.GetName())
		w.strings("tags", s.GetTags())
		w.close('}')
	}
	w.close(']')
	w.metadataMetrics(m.GetMetrics())
	w.close('}')
	return w.b
}

// valuesV2JSON is V-02: an empty string is an entry without value.
func valuesV2JSON(m *tempopb.SearchTagValuesV2Response) []byte {
	var w jsonWriter
	w.object()
	w.openField("tagValues", '[')
	for _, v := range m.GetTagValues() {
		w.object()
		w.stringField("type", v.GetType())
		w.stringField("value", v.GetValue())
		w.close('}')
	}
	w.close(']')
	w.metadataMetrics(m.GetMetrics())
	w.close('}')
	return w.b
}

// valuesLLM is C-08: strings by type.
func valuesLLM(m *tempopb.SearchTagValuesV2Response) []byte {
	byType := make(map[string][]string)
	for _, v := range m.GetTagValues() {
		byType[v.GetType()] = append(byType[v.GetType()], v.GetValue())
	}
	var w jsonWriter
	w.object()
	for _, t := range slices.Sorted(maps.Keys(byType)) {
		w.text(t)
		w.b = append(w.b, ':', '[')
		for _, v := range byType[t] {
			w.text(v)
		}
		w.close(']')
	}
	w.close('}')
	return w.b
}

// rangeJSON is M-10 to M-14: series is there also when it is empty, samples of value 0 have no value.
func rangeJSON(m *tempopb.QueryRangeResponse) []byte {
	var w jsonWriter
	w.object()
	w.openField("series", '[')
	for _, s := range m.GetSeries() {
		w.object()
		w.keyValues("labels", s.GetLabels())
		if samples := s.GetSamples(); len(samples) > 0 {
			w.openField("samples", '[')
			for _, p := range samples {
				w.object()
				w.timestamp(p.GetTimestampMs())
				w.doubleField("value", p.GetValue())
				w.close('}')
			}
			w.close(']')
		}
		w.exemplars(s.GetExemplars())
		w.close('}')
	}
	w.close(']')
	w.searchMetrics(m.GetMetrics())
	w.partial(m.GetStatus(), m.GetMessage())
	w.close('}')
	return w.b
}

func (w *jsonWriter) exemplars(list []*tempopb.Exemplar) {
	if len(list) == 0 {
		return
	}
	w.openField("exemplars", '[')
	for _, e := range list {
		w.object()
		w.keyValues("labels", e.GetLabels())
		w.doubleField("value", e.GetValue())
		w.timestamp(e.GetTimestampMs())
		w.close('}')
	}
	w.close(']')
}

// instantJSON has no series field when there are none (M-13).
func instantJSON(m *tempopb.QueryInstantResponse) []byte {
	var w jsonWriter
	w.object()
	if series := m.GetSeries(); len(series) > 0 {
		w.openField("series", '[')
		for _, s := range series {
			w.object()
			w.keyValues("labels", s.GetLabels())
			w.doubleField("value", s.GetValue())
			w.close('}')
		}
		w.close(']')
	}
	w.searchMetrics(m.GetMetrics())
	w.partial(m.GetStatus(), m.GetMessage())
	w.close('}')
	return w.b
}

func (w *jsonWriter) partial(s tempopb.PartialStatus, message string) {
	w.enumField("status", int32(s), statusNames)
	w.stringField("message", message)
}

func (w *jsonWriter) timestamp(ms int64) {
	if ms != 0 {
		w.key("timestampMs")
		w.int64Value(ms)
	}
}

// doubleField leaves out 0 but not -0, which is another value to protobuf.
func (w *jsonWriter) doubleField(key string, f float64) {
	if f != 0 || 1/f < 0 {
		w.key(key)
		w.double(f)
	}
}

func (w *jsonWriter) keyValues(key string, list []*commonv1.KeyValue) {
	if len(list) == 0 {
		return
	}
	w.openField(key, '[')
	for _, a := range list {
		w.keyValue(a)
	}
	w.close(']')
}

func (w *jsonWriter) keyValue(a *commonv1.KeyValue) {
	w.object()
	w.stringField("key", a.GetKey())
	if a.GetValue() != nil {
		w.key("value")
		w.protoValue(a.GetValue())
	}
	w.close('}')
}

func (w *jsonWriter) protoValue(v *commonv1.AnyValue) {
	w.object()
	switch x := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		w.key("stringValue")
		w.b = appendJSONString(w.b, x.StringValue)
	case *commonv1.AnyValue_BoolValue:
		w.key("boolValue")
		w.boolean(x.BoolValue)
	case *commonv1.AnyValue_IntValue:
		w.key("intValue")
		w.int64Value(x.IntValue)
	case *commonv1.AnyValue_DoubleValue:
		w.key("doubleValue")
		w.double(x.DoubleValue)
	case *commonv1.AnyValue_BytesValue:
		w.key("bytesValue")
		w.b = append(w.b, '"')
		w.b = appendBase64(w.b, string(x.BytesValue))
		w.b = append(w.b, '"')
	case *commonv1.AnyValue_ArrayValue:
		w.openField("arrayValue", '{')
		if list := x.ArrayValue.GetValues(); len(list) > 0 {
			w.openField("values", '[')
			for _, e := range list {
				w.protoValue(e)
			}
			w.close(']')
		}
		w.close('}')
	case *commonv1.AnyValue_KvlistValue:
		w.openField("kvlistValue", '{')
		w.keyValues("values", x.KvlistValue.GetValues())
		w.close('}')
	}
	w.close('}')
}
