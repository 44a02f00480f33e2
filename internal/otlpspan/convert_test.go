package otlpspan_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestConversionsAgree sends random batches along every path; pdata's own marshaler is the oracle.
func TestConversionsAgree(t *testing.T) {
	seeds := uint64(20)
	if os.Getenv("BRAMBLE_FULL") == "1" {
		seeds = 2000
	}
	for seed := range seeds {
		g := testkit.NewNasty(seed)
		b := g.Batch(int(1 + seed%40*5))
		td, err := otlpspan.Build(b)
		require.NoError(t, err)
		wire, err := new(ptrace.ProtoMarshaler).MarshalTraces(td)
		require.NoError(t, err)

		var viaFlatten, viaRead store.Batch
		require.NoError(t, otlpspan.Flatten(td, &viaFlatten), "seed %d", seed)
		storetest.RequireSameSpans(t, b, &viaFlatten)
		require.NoError(t, otlpspan.ReadProto(wire, &viaRead), "seed %d", seed)
		require.Equal(t, viaFlatten, viaRead, "seed %d", seed)

		enc, err := otlpspan.AppendProto([]byte("head"), b)
		require.NoError(t, err)
		require.Equal(t, "head", string(enc[:4]))
		back, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(enc[4:])
		require.NoError(t, err, "seed %d", seed)
		again, err := new(ptrace.ProtoMarshaler).MarshalTraces(back)
		require.NoError(t, err)
		require.Equal(t, wire, again, "seed %d: AppendProto against Build and pdata", seed)
	}
}

// TestAttributesKeepTheirOrder also covers keys that occur twice, which pdata's Put would merge.
func TestAttributesKeepTheirOrder(t *testing.T) {
	attrs := []store.Attr{
		{Key: "b", Value: store.Int(1)},
		{Key: "a", Value: store.Int(2)},
		{Key: "b", Value: store.String("x")},
		{Key: "", Value: store.Empty()},
		{Key: "m", Value: store.Map(store.Attr{Key: "k", Value: store.Int(1)}, store.Attr{Key: "k", Value: store.Int(2)})},
	}
	b := &store.Batch{Resources: []store.Resource{{Attrs: attrs}}, Scopes: []store.Scope{{Attrs: attrs}}, Spans: []store.Span{{Attrs: attrs}}}
	td, err := otlpspan.Build(b)
	require.NoError(t, err)
	var got store.Batch
	require.NoError(t, otlpspan.Flatten(td, &got))
	require.Equal(t, attrs, got.Spans[0].Attrs)
	require.Equal(t, attrs, got.Resources[0].Attrs)
	require.Equal(t, attrs, got.Scopes[0].Attrs)
}

// TestMessagesAreNeverMissing is T-06: clients read resource, scope and status without looking whether they are there.
func TestMessagesAreNeverMissing(t *testing.T) {
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: make([]store.Span, 2)}
	enc, err := otlpspan.AppendProto(nil, b)
	require.NoError(t, err)
	var got tracepb.TracesData
	require.NoError(t, proto.Unmarshal(enc, &got))
	require.Len(t, got.ResourceSpans, 1)
	require.NotNil(t, got.ResourceSpans[0].Resource)
	require.Len(t, got.ResourceSpans[0].ScopeSpans, 1)
	require.NotNil(t, got.ResourceSpans[0].ScopeSpans[0].Scope)
	require.Len(t, got.ResourceSpans[0].ScopeSpans[0].Spans, 2)
	for _, s := range got.ResourceSpans[0].ScopeSpans[0].Spans {
		require.NotNil(t, s.Status)
	}
}

func TestGrouping(t *testing.T) {
	b := &store.Batch{Resources: make([]store.Resource, 3), Scopes: make([]store.Scope, 2)}
	for i := range b.Resources {
		b.Resources[i].SchemaURL = string(rune('x' + i))
	}
	for i, at := range []struct{ r, s int32 }{{2, 1}, {0, 0}, {2, 0}, {2, 1}, {0, 0}, {2, 0}, {0, 1}} {
		b.Spans = append(b.Spans, store.Span{Resource: at.r, Scope: at.s, SpanID: spanid.SpanID{7: byte(i)}})
	}
	enc, err := otlpspan.AppendProto(nil, b)
	require.NoError(t, err)
	var got tracepb.TracesData
	require.NoError(t, proto.Unmarshal(enc, &got))
	var order []byte
	var groups []string
	for _, rs := range got.ResourceSpans {
		groups = append(groups, rs.SchemaUrl)
		for _, ss := range rs.ScopeSpans {
			groups = append(groups, "scope")
			for _, s := range ss.Spans {
				order = append(order, lastByte(s.SpanId))
			}
		}
	}
	require.Equal(t, []string{"z", "scope", "scope", "x", "scope", "scope"}, groups, "resource 1 has no spans and vanishes")
	require.Equal(t, []byte{0, 3, 2, 5, 1, 4, 6}, order, "batch order within groups")
}

// lastByte returns the last byte of an id, 0 if the id is left out.
func lastByte(id []byte) byte {
	if len(id) == 0 {
		return 0
	}
	return id[len(id)-1]
}

func TestEmptyGroupsVanish(t *testing.T) {
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().Resource().Attributes().PutStr("a", "b")
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("kept")
	rs.ScopeSpans().AppendEmpty().Scope().SetName("empty")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("full")
	ss.Spans().AppendEmpty().SetName("s")
	rs.ScopeSpans().AppendEmpty()
	wire, err := new(ptrace.ProtoMarshaler).MarshalTraces(td)
	require.NoError(t, err)
	want := store.Batch{
		Resources: []store.Resource{{SchemaURL: "kept"}}, Scopes: []store.Scope{{Name: "full"}}, Spans: []store.Span{{Name: "s"}},
	}
	var a, b store.Batch
	require.NoError(t, otlpspan.Flatten(td, &a))
	require.Equal(t, want, a)
	require.NoError(t, otlpspan.ReadProto(wire, &b))
	require.Equal(t, want, b)
}

func nested(depth int) store.Value {
	v := store.Int(7)
	for i := range depth {
		if i%2 == 0 {
			v = store.Array(v)
		} else {
			v = store.Map(store.Attr{Key: "k", Value: v})
		}
	}
	return v
}

func TestDepthIsBounded(t *testing.T) {
	batch := func(depth int) *store.Batch {
		return &store.Batch{
			Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1),
			Spans: []store.Span{{Attrs: []store.Attr{{Key: "deep", Value: nested(depth)}}}},
		}
	}
	enc, err := otlpspan.AppendProto(nil, batch(store.MaxDepth))
	require.NoError(t, err)
	var rows store.Batch
	require.NoError(t, otlpspan.ReadProto(enc, &rows))
	require.Equal(t, batch(store.MaxDepth).Spans, rows.Spans)
	td, err := otlpspan.Build(&rows)
	require.NoError(t, err)

	_, err = otlpspan.AppendProto(nil, batch(store.MaxDepth+1))
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = otlpspan.Build(batch(store.MaxDepth + 1))
	require.ErrorIs(t, err, store.ErrInvalid)

	// One level more, in pdata.
	m := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes()
	inner, _ := m.Get("deep")
	outer := ptrace.NewTraces()
	span := outer.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	inner.CopyTo(span.Attributes().PutEmptySlice("deeper").AppendEmpty())
	before := store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: make([]store.Span, 1)}
	require.ErrorIs(t, otlpspan.Flatten(outer, &before), store.ErrInvalid)
	wire, err := new(ptrace.ProtoMarshaler).MarshalTraces(outer)
	require.NoError(t, err)
	require.ErrorIs(t, otlpspan.ReadProto(wire, &before), store.ErrInvalid)
	require.Len(t, before.Spans, 1, "a failed conversion leaves the batch as it was")
	require.Len(t, before.Resources, 1)
}

func TestInvalidBatches(t *testing.T) {
	for name, b := range map[string]*store.Batch{
		"no resource":    {Scopes: make([]store.Scope, 1), Spans: make([]store.Span, 1)},
		"both negative":  {Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{Resource: -1, Scope: -1}}},
		"scope too high": {Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{}, {Scope: 1}}},
		"damaged array": {Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{
			{Attrs: []store.Attr{{Value: store.Value{Type: store.TypeArray, Str: "\xff"}}}},
		}},
		"no such type": {Resources: make([]store.Resource, 1), Scopes: []store.Scope{{Attrs: []store.Attr{{Value: store.Value{Type: 200}}}}}, Spans: make([]store.Span, 1)},
		"damaged entities": {
			Resources: []store.Resource{{EntityRefs: "\x1a\x05abc"}}, Scopes: make([]store.Scope, 1), Spans: make([]store.Span, 1),
		},
	} {
		out, err := otlpspan.AppendProto([]byte("kept"), b)
		require.ErrorIs(t, err, store.ErrInvalid, name)
		require.Equal(t, "kept", string(out), name)
		_, err = otlpspan.Build(b)
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
}

// TestArenaIsReused fills the same memory again and again and compares with fresh memory.
func TestArenaIsReused(t *testing.T) {
	var arena otlpspan.Arena
	var rows store.Batch
	for seed := range uint64(20) {
		td := testkit.NewGenerator(seed).Traces(50)
		var want store.Batch
		require.NoError(t, otlpspan.Flatten(td, &want))
		rows.Reset()
		arena.Reset()
		require.NoError(t, arena.Flatten(td, &rows))
		require.Equal(t, want, rows)
	}
	td := testkit.NewGenerator(1).Traces(50)
	allocs := testing.AllocsPerRun(20, func() {
		rows.Reset()
		arena.Reset()
		_ = arena.Flatten(td, &rows)
	})
	require.Zero(t, allocs, "flattening scalars into used memory")
}

// TestReadProtoAppends reads two messages into one batch.
func TestReadProtoAppends(t *testing.T) {
	a, b := testkit.NewNasty(1).Batch(20), testkit.NewNasty(2).Batch(20)
	var both, all store.Batch
	for _, x := range []*store.Batch{a, b} {
		enc, err := otlpspan.AppendProto(nil, x)
		require.NoError(t, err)
		require.NoError(t, otlpspan.ReadProto(enc, &both))
	}
	encA, err := otlpspan.AppendProto(nil, a)
	require.NoError(t, err)
	encAB, err := otlpspan.AppendProto(encA, b) // Concatenated messages are their merge.
	require.NoError(t, err)
	require.NoError(t, otlpspan.ReadProto(encAB, &all))
	require.Equal(t, all, both)
	storetest.RequireSameSpans(t, &all, &both)
}
