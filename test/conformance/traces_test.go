package conformance

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
	"github.com/bramble-tracing/bramble/test/harness"
)

type traceResource = tracepb.ResourceSpans

// traceCases are section 1.2.
var traceCases = []testCase{
	{"T-01", byID}, {"T-02", notFound}, {"T-04", v1}, {"T-05", traceParameters}, {"T-06", nothingNil}, {"T-07", resourceless}, {"T-08", shared}, {"T-09", allFields},
}

// protoTrace asks for a trace as Grafana does.
func (w *world) protoTrace(t *testing.T, id string) *tempopb.TraceByIDResponse {
	t.Helper()
	r := w.Get("/api/v2/traces/"+id, "Accept", "application/protobuf")
	require.Equal(t, http.StatusOK, r.Status)
	require.Equal(t, "application/protobuf", r.Header.Get("Content-Type"))
	var m tempopb.TraceByIDResponse
	require.NoError(t, proto.Unmarshal(r.Body, &m))
	require.Empty(t, m.ProtoReflect().GetUnknown())
	return &m
}

func spansByName(t *testing.T, list []*tracepb.ResourceSpans) map[string]*tracepb.Span {
	t.Helper()
	out := map[string]*tracepb.Span{}
	for _, s := range harness.Spans(&tracepb.TracesData{ResourceSpans: list}) {
		require.NotContains(t, out, s.GetName())
		out[s.GetName()] = s
	}
	return out
}

func byID(t *testing.T, w *world) {
	m := w.protoTrace(t, cart)
	require.Len(t, spansByName(t, m.GetTrace().GetResourceSpans()), 3)
	require.Positive(t, m.GetMetrics().GetInspectedBytes())
	require.Equal(t, tempopb.PartialStatus_COMPLETE, m.GetStatus())
	r := raw(t, w.Get("/api/v2/traces/"+cart).Body)
	require.NotNil(t, dig(t, r, "trace", "resourceSpans", 0, "scopeSpans", 0, "spans", 0))
	require.NotContains(t, r, "status", "left out when complete (T-03)")
}

func notFound(t *testing.T, w *world) {
	r := w.Get("/api/v2/traces/"+missing, "Accept", "application/protobuf")
	require.Equal(t, http.StatusOK, r.Status)
	require.Equal(t, "0a001200", hex.EncodeToString(r.Body))
	r = w.Get("/api/v2/traces/" + missing)
	require.Equal(t, http.StatusOK, r.Status)
	require.JSONEq(t, `{"trace":{},"metrics":{}}`, string(r.Body))
}

func v1(t *testing.T, w *world) {
	r := raw(t, w.Get("/api/traces/"+cart).Body)
	require.Len(t, r, 1)
	require.NotNil(t, dig(t, r, "batches", 0, "scopeSpans", 0, "spans", 0))
	p := w.Get("/api/traces/"+cart, "Accept", "application/protobuf")
	var m tempopb.Trace
	require.NoError(t, proto.Unmarshal(p.Body, &m))
	require.True(t, proto.Equal(w.protoTrace(t, cart).GetTrace(), &m), "the bare trace")
	for _, accept := range []string{"", "application/protobuf"} {
		n := w.Get("/api/traces/"+missing, "Accept", accept)
		require.Equal(t, http.StatusNotFound, n.Status)
		require.Empty(t, n.Body)
	}
}

func traceParameters(t *testing.T, w *world) {
	const uuid = "2b7bd3a6-1c1b-4b80-8a5a-6d1e6a3a9e0f"
	for _, p := range []string{
		"start=1&end=2", fmt.Sprintf("start=%d&end=%d", w.sec(0), w.sec(1e9)), "mode=all", "mode=ingesters", "mode=blocks", "mode=external", "blockStart=" + uuid + "&blockEnd=" + uuid,
	} {
		for _, v := range []string{"/api/traces/", "/api/v2/traces/"} {
			r := w.Get(v + cart + "?" + p)
			require.Equal(t, http.StatusOK, r.Status, "%s: %s", p, r.Body)
			require.NotNil(t, findSpan(t, raw(t, r.Body), "SELECT"), p)
		}
	}
	for p, says := range map[string]string{"start=2&end=2": "start must be before end", "start=x": "invalid start", "mode=some": "mode", "blockStart=1": "blockStart"} {
		w.refused(t, "/api/v2/traces/"+cart+"?"+p, 400, says)
		w.refused(t, "/api/traces/"+cart+"?"+p, 400, says)
	}
}

func nothingNil(t *testing.T, w *world) { // Presence in the bytes, not what getters make of it.
	for _, id := range []string{cart, bare, rootless, odd, zipkin, quick, nameless} {
		for _, rs := range w.protoTrace(t, id).GetTrace().GetResourceSpans() {
			require.NotNil(t, rs.Resource, id)
			for _, ss := range rs.GetScopeSpans() {
				require.NotNil(t, ss.Scope, id)
				for _, s := range ss.GetSpans() {
					require.NotNil(t, s.Status, id)
				}
			}
		}
		body := raw(t, w.Get("/api/v2/traces/"+id).Body)
		require.NotNil(t, dig(t, body, "trace", "resourceSpans", 0, "resource"))
		require.NotNil(t, dig(t, body, "trace", "resourceSpans", 0, "scopeSpans", 0, "scope"))
		require.NotNil(t, dig(t, body, "trace", "resourceSpans", 0, "scopeSpans", 0, "spans", 0, "status"))
	}
}

func resourceless(t *testing.T, w *world) {
	r := w.protoTrace(t, bare).GetTrace().GetResourceSpans()
	require.Len(t, r, 1)
	require.Equal(t, "service.name", r[0].GetResource().GetAttributes()[0].GetKey())
	require.NotEmpty(t, r[0].GetResource().GetAttributes()[0].GetValue().GetStringValue())
}

func shared(t *testing.T, w *world) {
	s := spansByName(t, w.protoTrace(t, zipkin).GetTrace().GetResourceSpans()) // Fails if the copy is there.
	require.Len(t, s, 3)
	id := func(name string) string { return hex.EncodeToString(s[name].GetSpanId()) }
	require.Equal(t, "00000000000000c1", id("call"))
	require.NotEqual(t, "00000000000000c1", id("serve"))
	require.Equal(t, "00000000000000c1", hex.EncodeToString(s["serve"].GetParentSpanId()))
	require.Equal(t, id("serve"), hex.EncodeToString(s["work"].GetParentSpanId()))
}

func allFields(t *testing.T, w *world) {
	var got *tracepb.ResourceSpans
	for _, rs := range w.protoTrace(t, cart).GetTrace().GetResourceSpans() {
		if len(rs.GetResource().GetAttributes()) > 1 {
			got = rs
		}
	}
	require.NotNil(t, got)
	sortedResource := func(r *resourcepb.Resource) *resourcepb.Resource {
		slices.SortFunc(r.GetAttributes(), func(a, b *commonpb.KeyValue) int { return strings.Compare(a.GetKey(), b.GetKey()) })
		return r
	}
	want := fixture(w.at)[0][0]
	require.True(t, proto.Equal(sortedResource(want.GetResource()), sortedResource(got.GetResource())), "%v", got.GetResource())
	require.True(t, proto.Equal(want.GetScopeSpans()[0].GetScope(), got.GetScopeSpans()[0].GetScope()), "%v", got.GetScopeSpans()[0].GetScope())
	sorted := func(s *tracepb.Span) *tracepb.Span { // The order of attributes has no meaning.
		slices.SortFunc(s.GetAttributes(), func(a, b *commonpb.KeyValue) int { return strings.Compare(a.GetKey(), b.GetKey()) })
		for _, e := range s.GetEvents() {
			slices.SortFunc(e.GetAttributes(), func(a, b *commonpb.KeyValue) int { return strings.Compare(a.GetKey(), b.GetKey()) })
		}
		return s
	}
	wanted, have := spansByName(t, []*tracepb.ResourceSpans{want}), spansByName(t, []*tracepb.ResourceSpans{got})
	for name, s := range wanted {
		require.True(t, proto.Equal(sorted(s), sorted(have[name])), "%s:\nwant %v\ngot  %v", name, s, have[name])
	}
}
