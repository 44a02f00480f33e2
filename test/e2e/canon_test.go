package e2e

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// flat returns, by span id, each span as a message of its own with the resource and scope it was sent under. Attributes
// have no order (the store's contract), so they are sorted by key and then by value; nothing else is changed, and
// nested maps keep their order. What is absent and what is empty is the same where OTLP says so: a missing resource,
// scope or status (T-06), and the value of an attribute.
func flat(t *testing.T, td *tracepb.TracesData) map[string]*tracepb.ResourceSpans {
	t.Helper()
	out := map[string]*tracepb.ResourceSpans{}
	for _, rs := range td.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				one := proto.CloneOf(&tracepb.ResourceSpans{
					Resource: rs.GetResource(), SchemaUrl: rs.GetSchemaUrl(),
					ScopeSpans: []*tracepb.ScopeSpans{{Scope: ss.GetScope(), SchemaUrl: ss.GetSchemaUrl(), Spans: []*tracepb.Span{s}}},
				})
				canon(t, one)
				id := hex.EncodeToString(s.GetSpanId())
				require.NotContains(t, out, id, "two spans have the id")
				out[id] = one
			}
		}
	}
	return out
}

func canon(t *testing.T, one *tracepb.ResourceSpans) {
	t.Helper()
	ss := one.GetScopeSpans()[0]
	span := ss.GetSpans()[0]
	// Grafana drops the spans of a resource without attributes, so it is answered with one (T-07).
	if len(one.GetResource().GetAttributes()) == 0 {
		if one.GetResource() == nil {
			one.Resource = &resourcepb.Resource{}
		}
		one.Resource.Attributes = []*commonpb.KeyValue{kv("service.name", str("unknown_service"))}
	}
	if ss.GetScope() != nil && proto.Size(ss.GetScope()) == 0 {
		ss.Scope = nil
	}
	if span.GetStatus() != nil && proto.Size(span.GetStatus()) == 0 {
		span.Status = nil
	}
	// Eight zeros as the parent and no parent mean the same.
	if bytes.Equal(span.GetParentSpanId(), make([]byte, 8)) {
		span.ParentSpanId = nil
	}
	sortAttrs(t, one.GetResource().GetAttributes())
	sortAttrs(t, ss.GetScope().GetAttributes())
	sortAttrs(t, span.GetAttributes())
	for _, e := range span.GetEvents() {
		sortAttrs(t, e.GetAttributes())
	}
	for _, l := range span.GetLinks() {
		sortAttrs(t, l.GetAttributes())
	}
}

func sortAttrs(t *testing.T, attrs []*commonpb.KeyValue) {
	t.Helper()
	setValues(attrs)
	encoded := func(kv *commonpb.KeyValue) []byte {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(kv)
		require.NoError(t, err)
		return raw
	}
	slices.SortFunc(attrs, func(a, b *commonpb.KeyValue) int { return bytes.Compare(encoded(a), encoded(b)) })
}

// setValues makes a missing value, which means the same as one without a type, one without a type, in maps too.
func setValues(attrs []*commonpb.KeyValue) {
	for _, kv := range attrs {
		if kv.GetValue() == nil {
			kv.Value = &commonpb.AnyValue{}
		}
		setValuesIn(kv.GetValue())
	}
}

func setValuesIn(v *commonpb.AnyValue) {
	setValues(v.GetKvlistValue().GetValues())
	for _, e := range v.GetArrayValue().GetValues() {
		setValuesIn(e)
	}
}

// requireSame compares two traces span by span.
func requireSame(t *testing.T, want, got *tracepb.TracesData) {
	t.Helper()
	w, g := flat(t, want), flat(t, got)
	assert.Len(t, g, len(w), "number of spans")
	for id, one := range w {
		other := g[id]
		if other == nil {
			assert.Fail(t, "a span is missing", id)
			continue
		}
		if !proto.Equal(one, other) {
			assert.Equal(t, prototext.Format(one), prototext.Format(other), "span %s", id)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
