package block

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// parquetSpan is a span as somebody reads it who knows the documentation only.
type parquetSpan struct {
	TraceID  [16]byte `parquet:"trace_id"`
	SpanID   [8]byte  `parquet:"span_id"`
	Start    int64    `parquet:"start_time,timestamp(nanosecond)"`
	Duration int64    `parquet:"duration_nano"`
	Name     string   `parquet:"name"`
	Kind     int64    `parquet:"kind"`
	Service  *string  `parquet:"service_name,optional"`
	Resource int64    `parquet:"resource_id"`
	Events   int64    `parquet:"event_count"`
	Left     int64    `parquet:"nested_left"`
	Right    int64    `parquet:"nested_right"`
	Parent   *int64   `parquet:"parent_row,optional"`
	Route    *string  `parquet:"span.http.route,optional"`
	URL      *string  `parquet:"span.url.full,optional"`
	Status   *int64   `parquet:"span.http.response.status_code@int,optional"`
	Total    *float64 `parquet:"span.shop.total@float,optional"`
}

// TestParquetGo reads a block with the generic reader of parquet-go.
func TestParquetGo(t *testing.T) {
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	b := testkit.NewGenerator(9).Batch(store.GranuleRows + 500)
	sortRows(b)
	writeBlock(t, fs, "x", b, WriterOptions{GroupGranules: 1})
	data, err := fsx.ReadFile(fs, "blocks/x/spans.parquet")
	require.NoError(t, err)
	r := parquet.NewGenericReader[parquetSpan](bytes.NewReader(data))
	defer func() { require.NoError(t, r.Close()) }()
	require.EqualValues(t, len(b.Spans), r.NumRows())
	rows := make([]parquetSpan, len(b.Spans)+1)
	n := 0
	for {
		m, err := r.Read(rows[n:])
		if n += m; errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, len(b.Spans), n)
	str := func(s *store.Span, key string) *string {
		if v, ok := firstAttr(s.Attrs, key); ok {
			return &v.Str
		}
		return nil
	}
	for i := range b.Spans {
		s, got := &b.Spans[i], &rows[i]
		want := parquetSpan{
			TraceID: s.TraceID, SpanID: s.SpanID, Start: int64(s.StartNano), Duration: int64(s.DurationNano()), Name: s.Name,
			Kind: int64(s.Kind), Events: int64(len(s.Events)), Route: str(s, "http.route"), URL: str(s, "url.full"),
			Service: &b.Resources[s.Resource].Attrs[0].Value.Str, Resource: got.Resource, Left: got.Left, Right: got.Right, Parent: got.Parent,
		}
		if v, ok := firstAttr(s.Attrs, "http.response.status_code"); ok {
			code := v.Int()
			want.Status = &code
		}
		if v, ok := firstAttr(s.Attrs, "shop.total"); ok {
			total := v.Float()
			want.Total = &total
		}
		require.Equal(t, want, *got, "row %d", i)
		require.Equal(t, s.ParentID.IsZero(), got.Parent == nil, "row %d", i)
		if got.Parent != nil {
			p := &rows[int64(i)+*got.Parent]
			require.Equal(t, s.ParentID[:], p.SpanID[:])
			require.True(t, p.Left < got.Left && got.Right < p.Right, "row %d is within its parent", i)
		}
	}
}

// TestBases moves the references of a row group by a base, as a copied row group has them.
func TestBases(t *testing.T) {
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	b := &store.Batch{}
	for i := range 6 {
		b.Resources = append(b.Resources, store.Resource{Attrs: []store.Attr{{Key: "n", Value: store.Int(int64(i))}}})
		b.Scopes = append(b.Scopes, store.Scope{Name: string(rune('a' + i))})
		b.Spans = append(b.Spans, store.Span{TraceID: [16]byte{byte(i)}, StartNano: uint64(i), Resource: int32(i), Scope: int32(i)})
	}
	writeBlock(t, fs, "x", b, WriterOptions{})
	path := "blocks/x/meta.json"
	data, err := fsx.ReadFile(fs, path)
	require.NoError(t, err)
	m, err := DecodeMeta(data, path)
	require.NoError(t, err)
	m.Groups[0].ResourceBase, m.Groups[0].ScopeBase = 2, 1
	data, err = encodeMeta(m)
	require.NoError(t, err)
	require.True(t, json.Valid(data))
	replaceFile(t, fs, path, data)
	blk, err := newTestReader(t, fs).Open("blocks/x")
	require.NoError(t, err)

	var got store.Batch
	require.NoError(t, blk.Spans(t.Context(), []uint32{0, 3}, &got))
	require.Equal(t, b.Resources[2], got.Resources[0])
	require.Equal(t, b.Resources[5], got.Resources[1])
	require.Equal(t, "b", got.Scopes[0].Name)
	require.Equal(t, "e", got.Scopes[1].Name)
	var ce *store.CorruptionError
	require.ErrorAs(t, blk.Spans(t.Context(), []uint32{4}, &got), &ce, "a resource that does not exist")

	var v store.Vector
	var sel store.Bitmap
	sel.Set(0)
	sel.Set(3)
	require.NoError(t, blk.Read(t.Context(), 0, store.Column{Scope: store.ScopeResource, Name: "n"}, &sel, &v))
	require.Equal(t, []store.Value{store.Int(2), store.Int(5)}, []store.Value{v.At(0), v.At(1)})
	require.NoError(t, blk.Read(t.Context(), 0, store.Intrinsic(store.ResourceRef), &sel, &v))
	require.Equal(t, []int64{2, 5}, v.Ints)
	p := &store.Predicate{Column: store.Intrinsic(store.ScopeName), Op: store.OpEq, Values: []store.Value{store.String("e")}}
	sel = store.Bitmap{}
	sel.Fill(4)
	require.True(t, blk.MayMatch(0, p))
	require.NoError(t, blk.Filter(t.Context(), 0, p, &sel))
	require.Equal(t, 1, sel.Count())
	require.True(t, sel.Has(3))
	p.Values[0] = store.String("a") // used by no span now
	require.False(t, blk.MayMatch(0, p))
	require.NoError(t, blk.Release())
}
