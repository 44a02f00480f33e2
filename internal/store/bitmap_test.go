package store_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

func TestBitmapFill(t *testing.T) {
	var b store.Bitmap
	for _, n := range []int{store.GranuleRows, 0, 1, 63, 64, 65, 8191} {
		b.Fill(n)
		require.Equal(t, n, b.Count())
		require.Equal(t, n > 0, b.Any())
		if n > 0 {
			require.True(t, b.Has(n-1))
		}
		if n < store.GranuleRows {
			require.False(t, b.Has(n))
		}
	}
}

func TestBitmapRanges(t *testing.T) {
	bounds := []int{0, 1, 2, 62, 63, 64, 65, 127, 128, 129, 1000, 8127, 8128, 8191, store.GranuleRows}
	for _, lo := range bounds {
		for _, hi := range bounds {
			var b, want store.Bitmap
			for _, b := range []*store.Bitmap{&b, &want} {
				b.Set(5)
				b.Set(70)
			}
			b.SetRange(lo, hi)
			for i := lo; i < hi; i++ {
				want.Set(i)
			}
			require.Equal(t, want, b, "%d to %d", lo, hi)
			n := 0
			b.Clear(64)
			for i := lo; i < hi; i++ {
				if b.Has(i) {
					n++
				}
			}
			require.Equal(t, n, b.CountRange(lo, hi), "%d to %d", lo, hi)
		}
	}
}

// TestBitmapAgainstMap compares every operation with a plain set.
func TestBitmapAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (*store.Bitmap, map[int]bool) {
		b, m := &store.Bitmap{}, map[int]bool{}
		for range rng.IntN(3000) {
			i := rng.IntN(store.GranuleRows)
			b.Set(i)
			m[i] = true
			if j := rng.IntN(store.GranuleRows); rng.IntN(3) == 0 {
				b.Clear(j)
				delete(m, j)
			}
		}
		return b, m
	}
	ops := []struct {
		do   func(a, b *store.Bitmap)
		want func(a, b bool) bool
	}{
		{func(a, b *store.Bitmap) { a.And(b) }, func(a, b bool) bool { return a && b }},
		{func(a, b *store.Bitmap) { a.AndNot(b) }, func(a, b bool) bool { return a && !b }},
		{func(a, b *store.Bitmap) { a.Or(b) }, func(a, b bool) bool { return a || b }},
	}
	for n := range 60 {
		a, ma := random()
		b, mb := random()
		op := ops[n%len(ops)]
		op.do(a, b)
		var want []int
		for i := range store.GranuleRows {
			if op.want(ma[i], mb[i]) {
				want = append(want, i)
			}
			if a.Has(i) != op.want(ma[i], mb[i]) {
				t.Fatalf("Has(%d) = %v", i, a.Has(i))
			}
		}
		require.Equal(t, want, slices.Collect(a.Rows()))
		require.Equal(t, len(want), a.Count())
	}
}

func TestBitmapRowsWhileClearing(t *testing.T) {
	var b store.Bitmap
	b.Fill(1000)
	n := 0
	for i := range b.Rows() {
		b.Clear(i)
		if n++; n == 500 {
			break
		}
	}
	require.Equal(t, 500, b.Count())
}
