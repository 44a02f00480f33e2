package store_test

import (
	"math"
	"math/big"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func TestMatchSpan(t *testing.T) {
	type values = []store.Value
	str, num, flt := store.String, store.Int, store.Float
	re := func(s string) *regexp.Regexp { return regexp.MustCompile(`\A(?s:` + s + `)\z`) }
	none := values{}
	for _, tc := range []struct {
		rule     string
		op       store.Op
		operands values
		regex    string
		spans    map[bool][]values // Those that match and those that do not.
	}{
		{"E-19", store.OpExists, nil, "", map[bool][]values{true: {{str("")}, {store.Empty()}, {store.Array()}}, false: {none}}},
		{"E-19", store.OpNotExists, nil, "", map[bool][]values{true: {none}, false: {{str("")}, {store.Empty()}}}},
		{"E-10, E-12", store.OpEq, values{str("a")}, "", map[bool][]values{
			true: {{str("a")}, {str("b"), str("a")}, {store.Array(num(1), str("a"))}}, false: {none, {num(1)}, {store.Bytes("a")}, {store.Array()}, {store.Empty()}},
		}},
		{"E-10, E-12, E-23", store.OpNe, values{str("a")}, "", map[bool][]values{
			true: {{str("b")}, {str("b"), str("c")}, {store.Array(str("b"))}, {store.Array()}, {num(1), str("b")}, {store.Array(num(1), str("b"))}},
			false: {
				none,
				{num(1)},
				{str("a")},
				{str("b"), str("a")},
				{store.Array(str("b"), str("a"))},
				{store.Array(num(1))},
				{store.Empty()},
				{store.Array(store.Array(str("b")))},
			},
		}},
		{"E-13", store.OpEq, values{flt(2)}, "", map[bool][]values{true: {{num(2)}, {flt(2)}}, false: {{num(3)}, {str("2")}, {flt(math.NaN())}}}},
		{"E-13", store.OpGt, values{flt(1.5)}, "", map[bool][]values{true: {{num(2)}, {flt(math.Inf(1))}}, false: {{num(1)}, {num(-9)}, {flt(math.NaN())}, {store.Bool(true)}}}},
		{"E-13", store.OpEq, values{num(1<<53 + 1)}, "", map[bool][]values{true: {{num(1<<53 + 1)}}, false: {{flt(1 << 53)}}}},
		{"NaN", store.OpNe, values{flt(math.NaN())}, "", map[bool][]values{true: {{flt(1)}, {flt(math.NaN())}, {num(1)}}, false: {{str("x")}}}},
		{"E-15", store.OpLt, values{str("b")}, "", map[bool][]values{true: {{str("a")}, {str("")}, {str("B")}}, false: {{str("b")}, {str("ä")}, {num(0)}}}},
		{"E-15", store.OpGe, values{str("b")}, "", map[bool][]values{true: {{str("b")}, {str("ba")}}, false: {{str("a")}, {num(7)}}}},
		{"", store.OpLe, values{num(5)}, "", map[bool][]values{true: {{num(5)}, {num(9), num(5)}}, false: {{num(6)}, none}}},
		{"E-16", store.OpRegex, nil, "a.c", map[bool][]values{true: {{str("abc")}, {str("a\nc")}, {store.Array(str("x"), str("abc"))}}, false: {{str("xabc")}, {num(1)}, {store.Bytes("abc")}, none}}},
		{"E-16, E-23", store.OpNotRegex, nil, "a.*", map[bool][]values{true: {{str("b")}, {store.Array()}}, false: {{str("ab")}, {str("b"), str("ab")}, {num(1)}, none}}},
		{"E-22", store.OpIn, values{str("a"), num(5)}, "", map[bool][]values{true: {{num(5)}, {flt(5)}, {str("z"), str("a")}}, false: {{num(6)}, {store.Bool(true)}, none}}},
		{"E-23", store.OpNotIn, values{str("a"), num(5)}, "", map[bool][]values{true: {{num(6)}, {str("b")}, {store.Array()}}, false: {{flt(5)}, {store.Bool(true)}, none, {num(6), num(5)}}}},
		{"E-17", store.OpEq, values{store.Bool(true)}, "", map[bool][]values{true: {{store.Bool(true)}}, false: {{store.Bool(false)}, {num(1)}}}},
		{"damaged", store.OpNe, values{str("a")}, "", map[bool][]values{false: {{{Type: store.TypeArray, Str: "\xff"}}}}},
	} {
		p := &store.Predicate{Op: tc.op, Values: tc.operands}
		if tc.op == store.OpRegex || tc.op == store.OpNotRegex {
			p.Regex = re(tc.regex)
		}
		for want, spans := range tc.spans {
			for _, v := range spans {
				require.Equal(t, want, p.MatchSpan(v), "%s: %v %s %v%s", tc.rule, v, tc.op, tc.operands, tc.regex)
			}
		}
	}
	require.Equal(t, "not in", store.OpNotIn.String())
	require.Equal(t, "?", store.Op(99).String())
}

// TestCompareNumbers checks Compare against exact arithmetic, for all pairs of odd numbers.
func TestCompareNumbers(t *testing.T) {
	var numbers []store.Value
	for _, i := range []int64{0, 1, -1, 2, 1<<53 - 1, 1 << 53, 1<<53 + 1, -(1<<53 + 1), math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1} {
		numbers = append(numbers, store.Int(i), store.Float(float64(i)), store.Float(float64(i)+0.5))
	}
	for _, f := range []float64{math.Copysign(0, -1), 0.1, -0.1, 1e300, -1e300, math.SmallestNonzeroFloat64} {
		numbers = append(numbers, store.Float(f))
	}
	exact := func(v store.Value) *big.Float {
		if v.Type == store.TypeInt {
			return new(big.Float).SetPrec(200).SetInt64(v.Int())
		}
		return new(big.Float).SetPrec(200).SetFloat64(v.Float())
	}
	for _, a := range numbers {
		for _, b := range numbers {
			c, ok := store.Compare(a, b)
			require.True(t, ok)
			require.Equal(t, exact(a).Cmp(exact(b)), c, "%v and %v", a, b)
		}
		for _, inf := range []int{1, -1} {
			c, ok := store.Compare(a, store.Float(math.Inf(inf)))
			require.True(t, ok)
			require.Equal(t, -inf, c)
		}
		for _, pair := range [][2]store.Value{{a, store.Float(math.NaN())}, {store.Float(math.NaN()), a}} {
			c, ok := store.Compare(pair[0], pair[1])
			require.True(t, ok)
			require.Equal(t, 2, c, "NaN is unordered")
		}
	}
}

// TestPredicateLaws checks on random values that a comparison and its negation exclude each other and that both need a
// value of a type that can be compared.
func TestPredicateLaws(t *testing.T) {
	g := testkit.NewNasty(9)
	g.MaxString = 0
	hits := 0
	for range 20_000 {
		v, o := []store.Value{g.Value(0)}, []store.Value{g.Value(3)}
		match := func(op store.Op) bool { return (&store.Predicate{Op: op, Values: o}).MatchSpan(v) }
		eq, ne := match(store.OpEq), match(store.OpNe)
		require.False(t, eq && ne, "%v = and != %v", v, o)
		require.Equal(t, eq, match(store.OpIn), "in one value is equality: %v, %v", v, o)
		require.Equal(t, ne, match(store.OpNotIn), "%v, %v", v, o)
		if v[0].Type != store.TypeArray {
			_, comparable := store.Compare(v[0], o[0])
			require.Equal(t, comparable, eq || ne, "%v, %v", v, o)
			require.Equal(t, match(store.OpLe), match(store.OpLt) || eq)
			require.Equal(t, match(store.OpGe), match(store.OpGt) || eq)
		}
		if eq {
			hits++
		}
	}
	require.Greater(t, hits, 100)
}
