package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

func TestVectorForms(t *testing.T) {
	a, b := store.String("a"), store.String("b")
	type values = []store.Value
	for name, tc := range map[string]struct {
		vector store.Vector
		want   []values
	}{
		"empty":         {store.Vector{}, nil},
		"ints":          {store.Vector{Ints: []int64{-1, 0}}, []values{{store.Int(-1)}, {store.Int(0)}}},
		"codes":         {store.Vector{Dict: values{a, b}, Codes: []uint32{1, store.NoCode, 0}}, []values{{b}, nil, {a}}},
		"values":        {store.Vector{Values: values{a, {}, store.Empty()}}, []values{{a}, nil, {store.Empty()}}},
		"several codes": {store.Vector{Dict: values{a, b}, Codes: []uint32{1, 0, 0}, Offsets: []uint32{0, 0, 2, 3, 3}}, []values{nil, {b, a}, {a}, nil}},
		"several":       {store.Vector{Values: values{a, b}, Offsets: []uint32{0, 2, 2}}, []values{{a, b}, nil}},
		"several, none": {store.Vector{Offsets: []uint32{0, 0, 0}}, []values{nil, nil}},
		"no rows":       {store.Vector{Offsets: []uint32{0}}, nil},
	} {
		require.Equal(t, len(tc.want), tc.vector.Rows(), name)
		for i, want := range tc.want {
			require.Equal(t, want, tc.vector.AppendTo(nil, i), "%s, row %d", name, i)
			require.Equal(t, append(values{a}, want...), tc.vector.AppendTo(values{a}, i), "%s, row %d", name, i)
			if want == nil {
				want = values{{}}
			}
			require.Equal(t, want[0], tc.vector.At(i), "%s, row %d", name, i)
		}
		tc.vector.Reset()
		require.Zero(t, tc.vector.Rows(), name)
		require.Nil(t, tc.vector.Dict)
	}
}

func TestColumns(t *testing.T) {
	multi := map[string]bool{store.EventName: true, store.EventTimeSinceStart: true, store.LinkTraceID: true, store.LinkSpanID: true}
	seen := map[string]bool{}
	for _, name := range store.Intrinsics {
		require.Equal(t, multi[name], store.Intrinsic(name).Multi(), name)
		require.False(t, seen[name], "%s is listed twice", name)
		seen[name] = true
	}
	for scope, want := range map[store.ColumnScope]bool{
		store.ScopeSpan: false, store.ScopeResource: false, store.ScopeInstrumentation: false,
		store.ScopeEvent: true, store.ScopeLink: true, store.ScopeUnscoped: true,
	} {
		require.Equal(t, want, store.Column{Scope: scope, Name: store.EventName}.Multi(), scope)
	}
	require.Equal(t, "instrumentation", store.ScopeInstrumentation.String())
	require.Equal(t, "ColumnScope(9)", store.ColumnScope(9).String())
}

func TestPartInfoGranules(t *testing.T) {
	for rows, want := range map[int][]int{
		0: nil, 1: {1}, store.GranuleRows: {store.GranuleRows}, store.GranuleRows + 1: {store.GranuleRows, 1},
	} {
		info := store.PartInfo{Rows: rows}
		var got []int
		for g := range info.Granules() {
			got = append(got, info.GranuleLen(g))
		}
		require.Equal(t, want, got)
	}
}
