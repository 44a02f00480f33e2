package compact

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

const gr = store.GranuleRows

// layout makes an input of traces "name:spans", in row order; the start of a trace is its row.
func layout(groups []int, traces ...string) Input {
	in := Input{Groups: groups}
	row := 0
	for _, s := range traces {
		name, count, _ := strings.Cut(s, ":")
		n := 0
		_, _ = fmt.Sscan(count, &n)
		in.Traces = append(in.Traces, index.Trace{ID: traceID(name), Row: uint32(row), Spans: uint32(n), Start: uint64(row)})
		row += n
	}
	return in
}

func traceID(name string) (id spanid.TraceID) {
	copy(id[:], name)
	return id
}

func name(id spanid.TraceID) string { return strings.TrimRight(string(id[:]), "\x00") }

func describe(m *Merged) string {
	var out []string
	for _, c := range m.Copies {
		words := []string{fmt.Sprintf("copy %d.%d", c.Input, c.Group)}
		for _, t := range c.Traces {
			words = append(words, name(t.ID))
		}
		out = append(out, strings.Join(words, " "))
	}
	for i := range m.Traces {
		words := []string{name(m.Traces[i].ID)}
		for _, p := range m.Pieces(&m.Traces[i]) {
			words = append(words, fmt.Sprintf("%d@%d+%d", p.Input, p.Row, p.Spans))
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, "; ")
}

func TestMerge(t *testing.T) {
	hide := func(in Input, names ...string) Input {
		in.Hidden = func(id spanid.TraceID) bool { return slices.Contains(names, name(id)) }
		return in
	}
	whole := func(in Input) Input { in.Whole = true; return in }
	g := fmt.Sprint
	for what, tc := range map[string]struct {
		inputs []Input
		want   string
		joined string
	}{
		"nothing":  {},
		"small":    {[]Input{layout([]int{3}, "a:2", "b:1")}, "a 0@0+2; b 0@2+1", ""},
		"copied":   {[]Input{layout([]int{gr}, "a:8000", "b:192")}, "copy 0.0 a b", ""},
		"hidden":   {[]Input{hide(layout([]int{gr}, "a:8000", "b:192"), "b")}, "a 0@0+8000", ""},
		"no copy":  {[]Input{whole(layout([]int{gr}, "a:8192"))}, "a 0@0+8192", ""},
		"all gone": {[]Input{hide(layout([]int{2}, "a:2"), "a")}, "", ""},
		"the tail is read": {
			[]Input{layout([]int{gr, 5}, "a:8192", "b:5")}, "copy 0.0 a; b 0@8192+5", "",
		},
		"a trace goes on in the tail": {
			[]Input{layout([]int{gr, 5}, "a:8000", "b:197")}, "a 0@0+8000; b 0@8000+197", "",
		},
		"a trace goes on in a group that is copied too": {
			[]Input{layout([]int{gr, gr}, "a:8000", "b:200", "c:8184")}, "copy 0.0 a b; copy 0.1 c", "",
		},
		"linked to one that is not": {
			[]Input{layout([]int{gr, gr, gr, 1}, "a:8192", "b:8000", "c:200", "d:8184", "e:1"), layout([]int{1}, "d:1")},
			"copy 0.0 a; d 0@16392+8184 1@0+1; b 0@8192+8000; c 0@16192+200; e 0@24576+1", "d",
		},
		"one trace over many groups": {
			[]Input{layout([]int{gr, gr, gr}, "a:"+g(3*gr))}, "copy 0.0 a; copy 0.1; copy 0.2", "",
		},
		"joined": {
			[]Input{layout([]int{gr, 3}, "a:8192", "b:3"), layout([]int{4, 0}[:1], "b:1", "c:3")},
			"copy 0.0 a; b 0@8192+3 1@0+1; c 1@1+3", "b",
		},
		"joined, one hidden": {
			[]Input{hide(layout([]int{3}, "b:3"), "b"), layout([]int{1}, "b:1")}, "b 1@0+1", "",
		},
		"of three": {
			[]Input{layout([]int{1}, "a:1"), layout([]int{1}, "b:1"), layout([]int{2}, "a:1", "b:1")},
			"a 0@0+1 2@0+1; b 1@0+1 2@1+1", "a b",
		},
	} {
		t.Run(what, func(t *testing.T) {
			m := Merge(tc.inputs)
			require.Equal(t, tc.want, describe(m))
			joined := make([]string, 0, len(m.Joined))
			for _, id := range m.Joined {
				joined = append(joined, name(id))
			}
			require.Equal(t, tc.joined, strings.Join(joined, " "))
		})
	}
}

// TestMergeRandom checks that every visible row is copied or read, once, and that copied groups have nothing that is
// elsewhere.
func TestMergeRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var inputs []Input
		hidden := map[spanid.TraceID]bool{}
		for range 1 + rng.IntN(4) {
			var in Input
			total := 0
			for range 1 + rng.IntN(4) {
				n := gr * (1 + rng.IntN(2))
				in.Groups = append(in.Groups, n)
				total += n
			}
			if rng.IntN(2) == 0 {
				in.Groups[len(in.Groups)-1] -= 5
				total -= 5
			}
			for row := 0; row < total; {
				n := min(1+rng.IntN(3000), total-row)
				if rng.IntN(4) == 0 { // Ends with the granule.
					n = min(n+gr, gr-row%gr, total-row)
				}
				id := traceID(fmt.Sprint(rng.IntN(40), "-", len(inputs), "-", row))
				if rng.IntN(30) == 0 {
					id = traceID(fmt.Sprint("shared", rng.IntN(1000)))
				}
				if slices.ContainsFunc(in.Traces, func(e index.Trace) bool { return e.ID == id }) {
					continue
				}
				hidden[id] = rng.IntN(40) == 0
				in.Traces = append(in.Traces, index.Trace{ID: id, Row: uint32(row), Spans: uint32(n), Start: rng.Uint64N(100)})
				row += n
			}
			in.Hidden = func(id spanid.TraceID) bool { return hidden[id] }
			inputs = append(inputs, in)
		}
		checkMerge(t, inputs, hidden, Merge(inputs))
	}
}

func checkMerge(t *testing.T, inputs []Input, hidden map[spanid.TraceID]bool, m *Merged) {
	t.Helper()
	type row struct{ input, row int }
	written := map[row]int{}
	for _, c := range m.Copies {
		from := 0
		for _, n := range inputs[c.Input].Groups[:c.Group] {
			from += n
		}
		require.Zero(t, inputs[c.Input].Groups[c.Group]%gr)
		for r := range inputs[c.Input].Groups[c.Group] {
			written[row{c.Input, from + r}]++
		}
	}
	for i := range m.Traces {
		n := 0
		for _, p := range m.Pieces(&m.Traces[i]) {
			for r := range p.Spans {
				written[row{p.Input, int(p.Row + r)}]++
			}
			n += int(p.Spans)
		}
		require.Equal(t, m.Traces[i].Spans, n)
	}
	want := 0
	for i, in := range inputs {
		for _, e := range in.Traces {
			for r := range e.Spans {
				n := written[row{i, int(e.Row + r)}]
				if hidden[e.ID] {
					require.Zero(t, n, "hidden rows are left out")
					continue
				}
				require.Equal(t, 1, n, "input %d row %d", i, e.Row+r)
				want++
			}
		}
	}
	require.Len(t, written, want)
}

func TestAlign(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var sizes []int
	total := 0
	for total < 40*gr {
		n := 1 + rng.IntN(60)
		sizes = append(sizes, n)
		total += n
	}
	groups := Groups(total)
	order := Align(sizes, groups)
	require.Len(t, order, len(sizes))
	seen := make([]bool, len(sizes))
	ends := map[int]bool{}
	row := 0
	for i, at := range order {
		require.False(t, seen[at], "each once")
		seen[at] = true
		require.Less(t, max(i-at, at-i), 2*window, "near its place")
		row += sizes[at]
		ends[row] = true
	}
	border := 0
	for _, n := range groups[:len(groups)-1] {
		border += n * gr
		require.True(t, ends[border], "a trace ends at row %d", border)
	}
}

// TestAlignImpossible keeps the order where nothing fits: traces of one size, and huge ones.
func TestAlignImpossible(t *testing.T) {
	for _, size := range []int{7, 1000, 100_000} {
		sizes := slices.Repeat([]int{size}, 300)
		order := Align(sizes, []int{1, 2})
		for i, at := range order {
			require.Equal(t, i, at)
		}
	}
	require.Empty(t, Align(nil, nil))
}

func TestGroups(t *testing.T) {
	for rows, want := range map[int]string{
		0: "[16]", 5 * gr: "[16]", 6 * gr: "[2 2 3]", 37*gr - 1: "[2 16 16 3]", 40 * gr: "[2 12 12 12 3]", 300_000: "[2 16 16 3]",
	} {
		require.Equal(t, want, fmt.Sprint(Groups(rows)), "%d", rows)
	}
}
