package store_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func TestScalars(t *testing.T) {
	require.Equal(t, int64(math.MinInt64), store.Int(math.MinInt64).Int())
	require.Equal(t, -0.5, store.Float(-0.5).Float())
	require.True(t, store.Bool(true).Bool())
	require.False(t, store.Bool(false).Bool())
	require.NotEqual(t, store.String("a"), store.Bytes("a"))
	require.NotEqual(t, store.Value{}, store.Empty())
	require.Equal(t, store.Float(math.NaN()), store.Float(math.NaN()), "equal if the bits are")
	require.NotEqual(t, store.Float(0), store.Float(math.Copysign(0, -1)))
	require.Equal(t, "map", store.TypeMap.String())
	require.Equal(t, "ValueType(77)", store.ValueType(77).String())
}

func TestArraysAndMapsRoundTrip(t *testing.T) {
	g := testkit.NewNasty(1)
	for n := range 300 {
		var elems []store.Value
		var attrs []store.Attr
		for i := range n % 9 {
			v := g.Value(0)
			elems = append(elems, v)
			attrs = append(attrs, store.Attr{Key: strings.Repeat("k", i*40), Value: v})
		}
		gotElems, err := store.Array(elems...).Elems()
		require.NoError(t, err)
		require.Equal(t, elems, gotElems)
		gotAttrs, err := store.Map(attrs...).Attrs()
		require.NoError(t, err)
		require.Equal(t, attrs, gotAttrs)
	}
}

func TestUnpackingRefusesOtherTypes(t *testing.T) {
	_, err := store.String("x").Elems()
	require.ErrorContains(t, err, "string has no elements")
	_, err = store.Array().Attrs()
	require.ErrorContains(t, err, "array has no entries")
}

func TestMalformedPacking(t *testing.T) {
	for name, s := range map[string]string{
		"unknown type":         "\x09",
		"short number":         "\x03\x01\x02",
		"boolean of 2":         "\x05\x02",
		"boolean cut":          "\x05",
		"string cut":           "\x02\x05abc",
		"length cut":           "\x02\x80",
		"length without end":   "\x02" + strings.Repeat("\x80", 11),
		"length beyond memory": "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		_, err := store.Value{Type: store.TypeArray, Str: s}.Elems()
		require.Error(t, err, name)
		_, err = store.Value{Type: store.TypeMap, Str: "\x01k" + s}.Attrs()
		require.Error(t, err, name)
	}
	_, err := store.Value{Type: store.TypeMap, Str: "\x01k"}.Attrs()
	require.Error(t, err, "key without value")
}

// FuzzUnpack reads arbitrary bytes as an array and as a map. What can be read survives packing again.
func FuzzUnpack(f *testing.F) {
	g := testkit.NewNasty(2)
	g.MaxString = 0
	for range 30 {
		f.Add(store.Array(g.Value(0), g.Value(0)).Str)
		f.Add(store.Map(store.Attr{Key: "k", Value: g.Value(0)}).Str)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if elems, err := (store.Value{Type: store.TypeArray, Str: s}).Elems(); err == nil {
			again, err := store.Array(elems...).Elems()
			require.NoError(t, err)
			require.Equal(t, elems, again)
		}
		if attrs, err := (store.Value{Type: store.TypeMap, Str: s}).Attrs(); err == nil {
			again, err := store.Map(attrs...).Attrs()
			require.NoError(t, err)
			require.Equal(t, attrs, again)
		}
	})
}
