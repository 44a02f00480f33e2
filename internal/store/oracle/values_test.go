package oracle_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// TestValuesOf pins the reference with answers written by hand.
func TestValuesOf(t *testing.T) {
	str := func(ss ...string) (out []store.Value) {
		for _, s := range ss {
			out = append(out, store.String(s))
		}
		return out
	}
	num := func(ns ...int64) (out []store.Value) {
		for _, n := range ns {
			out = append(out, store.Int(n))
		}
		return out
	}
	attr := func(k string, v store.Value) store.Attr { return store.Attr{Key: k, Value: v} }
	r := &store.Resource{Attrs: []store.Attr{attr("service.name", store.String("cart")), attr("k", store.Int(2))}}
	sc := &store.Scope{Name: "lib", Version: "", Attrs: []store.Attr{attr("k", store.Int(5)), attr("only.scope", store.Bool(true))}}
	s := &store.Span{
		TraceID: spanid.TraceID{14: 0x0a, 15: 1}, SpanID: spanid.SpanID{7: 9},
		StartNano: 100, EndNano: 90, Kind: 77, StatusCode: 2, StatusMessage: "m", Name: "GET", TraceState: "a=b",
		Attrs: []store.Attr{attr("twice", store.Int(1)), attr("twice", store.String("x")), attr("empty", store.Empty()), attr("blank", store.String(""))},
		Events: []store.Event{
			{TimeNano: 150, Name: "e1", Attrs: []store.Attr{attr("k", store.Int(31)), attr("k", store.Int(99))}},
			{TimeNano: 40, Name: "e2"},
			{TimeNano: 100, Name: "", Attrs: []store.Attr{attr("ev", store.Int(1)), attr("k", store.Int(33))}},
		},
		Links: []store.Link{
			{TraceID: spanid.TraceID{15: 7}, SpanID: spanid.SpanID{7: 8}, Attrs: []store.Attr{attr("ln", store.Float(1.5)), attr("ev", store.Int(9))}},
			{},
		},
	}
	in := func(scope store.ColumnScope, name string) store.Column { return store.Column{Scope: scope, Name: name} }
	for _, tc := range []struct {
		column store.Column
		want   []store.Value
	}{
		{store.Intrinsic(store.SpanName), str("GET")},
		{store.Intrinsic(store.SpanKind), num(77)},
		{store.Intrinsic(store.SpanStatus), num(2)},
		{store.Intrinsic(store.SpanStatusMessage), str("m")},
		{store.Intrinsic(store.SpanStart), num(100)},
		{store.Intrinsic(store.SpanEnd), num(90)},
		{store.Intrinsic(store.SpanDuration), num(0)},
		{store.Intrinsic(store.SpanTraceID), str("a01")},         // C-24
		{store.Intrinsic(store.SpanID), str("0000000000000009")}, // C-22
		{store.Intrinsic(store.SpanParentID), nil},
		{store.Intrinsic(store.SpanTraceState), str("a=b")},
		{store.Intrinsic(store.EventName), str("e1", "e2", "")},
		{store.Intrinsic(store.EventTimeSinceStart), num(50, -60, 0)},
		{store.Intrinsic(store.LinkTraceID), str("00000000000000000000000000000007", "00000000000000000000000000000000")},
		{store.Intrinsic(store.LinkSpanID), str("0000000000000008", "0000000000000000")},
		{store.Intrinsic(store.ScopeName), str("lib")},
		{store.Intrinsic(store.ScopeVersion), str("")},
		{store.Intrinsic("no such"), nil},
		{in(store.ScopeSpan, "twice"), num(1)},
		{in(store.ScopeSpan, "empty"), []store.Value{store.Empty()}},
		{in(store.ScopeSpan, "blank"), str("")},
		{in(store.ScopeSpan, "service.name"), nil},
		{in(store.ScopeResource, "service.name"), str("cart")},
		{in(store.ScopeEvent, "k"), num(31, 33)},
		{in(store.ScopeLink, "ln"), []store.Value{store.Float(1.5)}},
		{in(store.ScopeInstrumentation, "k"), num(5)},
		{in(store.ScopeUnscoped, "k"), num(2)}, // E-03: resource before event.
		{in(store.ScopeUnscoped, "twice"), num(1)},
		{in(store.ScopeUnscoped, "ev"), num(1)}, // E-03: event before link.
		{in(store.ScopeUnscoped, "ln"), []store.Value{store.Float(1.5)}},
		{in(store.ScopeUnscoped, "only.scope"), []store.Value{store.Bool(true)}},
		{in(store.ScopeUnscoped, "name"), nil}, // Not the intrinsic.
	} {
		require.Equal(t, tc.want, oracle.ValuesOf(s, r, sc, tc.column), "%v", tc.column)
	}

	root := &store.Span{ParentID: spanid.SpanID{0: 1}, StartNano: 1, EndNano: math.MaxUint64}
	require.Equal(t, str("0100000000000000"), oracle.ValuesOf(root, r, sc, store.Intrinsic(store.SpanParentID)))
	require.Equal(t, str(""), oracle.ValuesOf(root, r, sc, store.Intrinsic(store.SpanTraceID)))
	require.Equal(t, num(-2), oracle.ValuesOf(root, r, sc, store.Intrinsic(store.SpanDuration)))
}
