package main

import "testing"

func TestSpread(t *testing.T) {
	for _, c := range []struct{ in, want []float64 }{
		{[]float64{3}, []float64{3, 3, 3}},
		{[]float64{4, 1}, []float64{1, 2.5, 4}},
		{[]float64{9, 1, 5}, []float64{1, 5, 9}},
		{[]float64{2, 8, 4, 1, 100}, []float64{1, 4, 100}},
	} {
		in := append([]float64(nil), c.in...)
		low, median, high := spread(in)
		if low != c.want[0] || median != c.want[1] || high != c.want[2] {
			t.Errorf("spread(%v) = %v, %v, %v, want %v", c.in, low, median, high, c.want)
		}
	}
}
