package tempoapi

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// labels are values of every type, unpleasant ones too.
func labels(seed uint64) (out []*commonv1.KeyValue) {
	g := testkit.NewNasty(seed)
	for range 40 {
		out = append(out, keyValue("k\xffey <&>", g.Value(0)))
	}
	return out
}

// TestAnswersEqualProtobuf compares each of our encoders with protobuf's own, which also refuses fields that do not
// exist (C-06). Where the contract wants an empty list to be there, the encoder is given one to keep.
func TestAnswersEqualProtobuf(t *testing.T) {
	sets := []*tempopb.SpanSet{{
		Spans: []*tempopb.Span{
			{SpanID: "00000000000000a1", Name: "q", StartTimeUnixNano: math.MaxUint64, DurationNanos: 5000, Attributes: labels(1)}, {},
		},
		Matched: 7, Attributes: labels(2),
	}, {}}
	searchMetrics := &tempopb.SearchMetrics{
		InspectedTraces: 1, InspectedBytes: 1 << 60, TotalBlocks: 2, CompletedJobs: 3, TotalJobs: 4, TotalBlockBytes: 5, InspectedSpans: 6,
	}
	metadata := &tempopb.MetadataMetrics{InspectedBytes: 1, TotalJobs: 2, CompletedJobs: 3, TotalBlocks: 4, TotalBlockBytes: 5}
	tests := []struct {
		name string
		m    proto.Message
		json []byte
	}{}
	add := func(name string, m proto.Message, json []byte) {
		tests = append(tests, struct {
			name string
			m    proto.Message
			json []byte
		}{name, m, json})
	}
	search := &tempopb.SearchResponse{Metrics: searchMetrics, Traces: []*tempopb.TraceSearchMetadata{{
		TraceID: "2f3e", RootServiceName: "shop", RootTraceName: "GET /", StartTimeUnixNano: 1700000000000000001, DurationMs: 12,
		SpanSet: sets[0], SpanSets: sets,
		ServiceStats: map[string]*tempopb.ServiceStats{"shop": {SpanCount: 2, ErrorCount: 1}, "": {}, "b\"": {SpanCount: 1}},
	}, {}}}
	add("search", search, searchJSON(search))
	tags := &tempopb.SearchTagsResponse{TagNames: []string{"a", "", "ü\""}, Metrics: metadata}
	add("tags", tags, tagsJSON(tags))
	tags2 := &tempopb.SearchTagsV2Response{Scopes: []*tempopb.SearchTagsV2Scope{{Name: "span", Tags: []string{"a"}}, {}}, Metrics: metadata}
	add("tags v2", tags2, tagsV2JSON(tags2))
	values := &tempopb.SearchTagValuesResponse{TagValues: []string{"", "x"}, Metrics: metadata}
	add("values", values, valuesJSON(values))
	values2 := &tempopb.SearchTagValuesV2Response{TagValues: []*tempopb.TagValue{{Type: "string"}, {Type: "int", Value: "5"}}, Metrics: metadata}
	add("values v2", values2, valuesV2JSON(values2))
	series := &tempopb.QueryRangeResponse{
		Series: []*tempopb.TimeSeries{
			{
				Labels: labels(3),
				Samples: []*tempopb.Sample{
					{TimestampMs: 1700000000000, Value: 1.5},
					{TimestampMs: 1700000060000},
					{TimestampMs: -1, Value: math.NaN()},
					{Value: math.Inf(1)},
					{Value: math.Inf(-1)},
					{Value: math.Copysign(0, -1)},
					{Value: 1e21},
					{Value: 1e-7},
				},
				Exemplars: []*tempopb.Exemplar{{Labels: labels(4), Value: 2, TimestampMs: 3}, {}},
			},
			{},
		},
		Metrics: searchMetrics, Status: tempopb.PartialStatus_PARTIAL, Message: "cut",
	}
	add("range", series, rangeJSON(series))
	instant := &tempopb.QueryInstantResponse{
		Series: []*tempopb.InstantSeries{{Labels: labels(5), Value: 2}, {}}, Metrics: searchMetrics, Status: tempopb.PartialStatus_PARTIAL, Message: "cut",
	}
	add("instant", instant, instantJSON(instant))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, err := protojson.Marshal(tt.m)
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(tt.json))
			back := tt.m.ProtoReflect().New().Interface()
			require.NoError(t, protojson.Unmarshal(tt.json, back))
			if tt.name != "range" { // NaN is not equal to itself.
				require.True(t, proto.Equal(tt.m, back))
			}
		})
	}
}

// TestEmptyAnswers: what is there although it is empty, and what is not.
func TestEmptyAnswers(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"traces":[],"metrics":{}}`:    searchJSON(&tempopb.SearchResponse{}),              // S-20
		`{"tagNames":[],"metrics":{}}`:  tagsJSON(&tempopb.SearchTagsResponse{}),            // G-01
		`{"scopes":[],"metrics":{}}`:    tagsV2JSON(&tempopb.SearchTagsV2Response{}),        // G-02
		`{"tagValues":[],"metrics":{}}`: valuesV2JSON(&tempopb.SearchTagValuesV2Response{}), // V-02
		`{"series":[],"metrics":{}}`:    rangeJSON(&tempopb.QueryRangeResponse{}),           // M-13
		`{"metrics":{}}`:                instantJSON(&tempopb.QueryInstantResponse{}),       // M-13
		`{}`:                            valuesLLM(&tempopb.SearchTagValuesV2Response{}),    // C-08
	} {
		require.Equal(t, want, string(got))
	}
	require.JSONEq(t, `{"tagValues":[],"metrics":{}}`, string(valuesJSON(&tempopb.SearchTagValuesResponse{})))
	require.JSONEq(t, `{"int":["5"],"string":["a",""]}`, string(valuesLLM(&tempopb.SearchTagValuesV2Response{
		TagValues: []*tempopb.TagValue{{Type: "string", Value: "a"}, {Type: "int", Value: "5"}, {Type: "string"}},
	})))
}

// TestContractExample is the search answer that the contract prints (section 1.3).
func TestContractExample(t *testing.T) {
	set := &tempopb.SpanSet{Matched: 1, Spans: []*tempopb.Span{{
		SpanID: "00000000000000a1", Name: "q", StartTimeUnixNano: 1700000000000000001, DurationNanos: 5000,
		Attributes: []*commonv1.KeyValue{keyValue("http.status_code", store.Int(500))},
	}}}
	spanSet := `{"spans":[{"spanID":"00000000000000a1","name":"q","startTimeUnixNano":"1700000000000000001","durationNanos":"5000",` +
		`"attributes":[{"key":"http.status_code","value":{"intValue":"500"}}]}],"matched":1}`
	require.Equal(t, `{"traces":[{"traceID":"2f3e0cee77ae5dc9c17ade3689eb2e54","rootServiceName":"shop","rootTraceName":"GET /cart",`+
		`"startTimeUnixNano":"1700000000000000001","durationMs":12,"spanSet":`+spanSet+`,"spanSets":[`+spanSet+`],`+
		`"serviceStats":{"shop":{"spanCount":2,"errorCount":1}}}],"metrics":{"inspectedTraces":1,"inspectedBytes":"99","completedJobs":1,"totalJobs":1}}`,
		string(searchJSON(&tempopb.SearchResponse{
			Traces: []*tempopb.TraceSearchMetadata{{
				TraceID: "2f3e0cee77ae5dc9c17ade3689eb2e54", RootServiceName: "shop", RootTraceName: "GET /cart", StartTimeUnixNano: 1700000000000000001,
				DurationMs: 12, SpanSet: set, SpanSets: []*tempopb.SpanSet{set}, ServiceStats: map[string]*tempopb.ServiceStats{"shop": {SpanCount: 2, ErrorCount: 1}},
			}},
			Metrics: &tempopb.SearchMetrics{InspectedTraces: 1, InspectedBytes: 99, CompletedJobs: 1, TotalJobs: 1},
		})))
}

func FuzzJSONString(f *testing.F) {
	f.Add("plain")
	f.Add("\xff<>&\u2028\x00\"\\\n")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		require.NoError(t, json.Unmarshal(appendJSONString(nil, s), &back))
		want, err := json.Marshal(s)
		require.NoError(t, err)
		var std string
		require.NoError(t, json.Unmarshal(want, &std))
		require.Equal(t, std, back)
	})
}
