package block

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
)

// numberNaively is E-05 as it is written: recursion from each root.
func numberNaively(spans []member, parents []int32) (left, right []int32) {
	left, right = make([]int32, len(spans)), make([]int32, len(spans))
	ids := map[spanid.SpanID]int{}
	for i := range spans {
		if ids[spans[i].id]++; ids[spans[i].id] > 2 {
			return left, right
		}
	}
	n := int32(0)
	var visit func(at int)
	visit = func(at int) {
		n++
		left[at] = n
		for c := range spans {
			if parents[c] == int32(at) {
				visit(c)
			}
		}
		n++
		right[at] = n
	}
	for i := range spans {
		if spans[i].parent.IsZero() && parents[i] == noSpan {
			visit(i)
		}
	}
	return left, right
}

func TestNumbers(t *testing.T) {
	id := func(n uint64) (id spanid.SpanID) {
		binary.BigEndian.PutUint64(id[:], n)
		return id
	}
	rng := rand.New(rand.NewPCG(1, 9))
	var p placer
	for round := range 2000 {
		n := 1 + rng.IntN(20)
		pool := uint64(n + rng.IntN(10))
		spans := make([]member, n)
		for i := range spans {
			spans[i] = member{id: id(1 + rng.Uint64N(pool)), kind: int32(rng.IntN(4))}
			if rng.IntN(4) > 0 {
				spans[i].parent = id(1 + rng.Uint64N(pool))
			}
			if round%2 == 0 { // a proper tree
				spans[i] = member{id: id(uint64(i + 1)), parent: id(rng.Uint64N(uint64(i + 1)))}
			}
		}
		got := p.number(spans)
		parents := make([]int32, n)
		for i := range got {
			parents[i] = got[i].parent
			if q := parents[i]; q != noSpan {
				require.NotEqual(t, int32(i), q, "no span is its own parent")
				require.True(t, spans[q].id == spans[i].parent || spans[q].id == spans[i].id, "a parent has the parent's id")
			}
		}
		left, right := numberNaively(spans, parents)
		for i := range got {
			require.Equal(t, [2]int32{left[i], right[i]}, [2]int32{got[i].left, got[i].right}, "round %d span %d of %+v", round, i, spans)
		}
	}
}

func TestSharedIDs(t *testing.T) { // Zipkin: client and server share an id
	one, two, three := spanid.SpanID{1}, spanid.SpanID{2}, spanid.SpanID{3}
	got := new(placer).number([]member{
		{id: one, kind: store.KindServer},
		{id: two, parent: one, kind: store.KindServer},
		{id: two, parent: one, kind: store.KindClient},
		{id: three, parent: two},
	})
	require.Equal(t, []place{
		{left: 1, right: 8, parent: noSpan}, {left: 3, right: 6, parent: 2}, {left: 2, right: 7, parent: 0}, {left: 4, right: 5, parent: 1},
	}, got)
}

// bigTrace is one trace whose parents may be anywhere before or behind their children.
func bigTrace(n int) *store.Batch {
	rng := rand.New(rand.NewPCG(3, 3))
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for i := range n {
		s := store.Span{TraceID: spanid.TraceID{7}, StartNano: uint64(1000 + i), EndNano: uint64(2000 + i), Name: fmt.Sprint("op", i%9)}
		binary.BigEndian.PutUint64(s.SpanID[:], uint64(i+1))
		if i > 0 {
			binary.BigEndian.PutUint64(s.ParentID[:], 1+rng.Uint64N(uint64(i)))
		}
		b.Spans = append(b.Spans, s)
	}
	// Some children come before their parents.
	for range n / 10 {
		i, j := rng.IntN(n), rng.IntN(n)
		b.Spans[i].SpanID, b.Spans[j].SpanID = b.Spans[j].SpanID, b.Spans[i].SpanID
		b.Spans[i].ParentID, b.Spans[j].ParentID = b.Spans[j].ParentID, b.Spans[i].ParentID
	}
	return b
}

// TestTraceOverRowGroups has a trace that is larger than several row groups, whose places are known at its end only.
func TestTraceOverRowGroups(t *testing.T) {
	n := 2*store.GranuleRows + 77
	if full() {
		n = 1_000_000
	}
	b := bigTrace(n)
	small := bigTrace(50)
	for i := range small.Spans {
		small.Spans[i].TraceID = spanid.TraceID{9}
		small.Spans[i].StartNano += 1 << 40
		small.Spans[i].EndNano += 1 << 40
	}
	mergeBatch(b, small)
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	w, err := NewWriter(fs, "blocks", WriterOptions{ID: "x", GroupGranules: 1})
	require.NoError(t, err)
	for chunk := range slices.Chunk(b.Spans, 5000) {
		require.NoError(t, w.Append(t.Context(), &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: chunk}))
	}
	m, err := w.Finish(t.Context())
	require.NoError(t, err)
	require.Greater(t, len(m.Groups), 2)
	blk, err := newTestReader(t, fs).Open("blocks/x")
	require.NoError(t, err)
	rows, err := blk.TraceRows(t.Context(), spanid.TraceID{7}, nil)
	require.NoError(t, err)
	require.Len(t, rows, n)
	var got store.Batch
	require.NoError(t, blk.Spans(t.Context(), rows, &got))
	for i := range got.Spans {
		require.Equal(t, b.Spans[i], got.Spans[i])
	}
	members := make([]member, n)
	for i := range members {
		members[i] = member{id: b.Spans[i].SpanID, parent: b.Spans[i].ParentID}
	}
	want := new(placer).number(members)
	require.EqualValues(t, 2*n, want[slices.IndexFunc(b.Spans, func(s store.Span) bool { return s.ParentID.IsZero() })].right)
	for i := 0; i < n; i += 997 {
		g, err := blk.granule(i / store.GranuleRows)
		require.NoError(t, err)
		left, err := g.column(colNestedLeft)
		require.NoError(t, err)
		require.EqualValues(t, want[i].left, left.Num(i%store.GranuleRows))
	}
	require.NoError(t, blk.Release())
}

// TestManyKeys has more attribute keys than a block has columns for.
func TestManyKeys(t *testing.T) {
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	rng := rand.New(rand.NewPCG(6, 6))
	n := store.GranuleRows + 2300
	for i := range n {
		s := store.Span{TraceID: spanid.TraceID{byte(i >> 16), byte(i >> 8), byte(i)}, StartNano: uint64(i + 1), EndNano: uint64(i + 5)}
		s.Attrs = append(s.Attrs, store.Attr{Key: "common", Value: store.Int(int64(i % 3))})
		for range 3 {
			// Low numbers are frequent.
			k := int(rng.ExpFloat64() * 300)
			v := store.String(fmt.Sprint("v", rng.IntN(4)))
			if rng.IntN(5) == 0 {
				v = store.Int(int64(rng.IntN(4)))
			}
			s.Attrs = append(s.Attrs, store.Attr{Key: fmt.Sprint("key", k), Value: v})
		}
		if i < 9000 && i%2 == 0 { // a flood in the first row groups
			s.Attrs = append(s.Attrs, store.Attr{Key: fmt.Sprint("flood", i), Value: store.String("once")})
		}
		if i%500 == 0 {
			s.Events = []store.Event{{Name: "e", Attrs: []store.Attr{{Key: fmt.Sprint("ev", i), Value: store.Bool(true)}}}}
			s.Attrs = append(s.Attrs, store.Attr{Key: "bad \xff", Value: store.Int(1)}, store.Attr{Key: "not text", Value: store.String("\xff")})
		}
		b.Spans = append(b.Spans, s)
	}
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	m, _ := writeBlock(t, fs, "x", b, WriterOptions{GroupGranules: 1})
	columns := 0
	for _, c := range m.Columns {
		if c.Table == SpansFile {
			columns++
		}
	}
	require.Equal(t, maxAttrColumns, columns)
	require.True(t, m.Overflow)
	r, err := NewReader(fs, NewLRU(64<<20), 1)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	blk, err := r.Open("blocks/x")
	require.NoError(t, err)
	rows := make([]uint32, n)
	for i := range rows {
		rows[i] = uint32(i)
	}
	var got store.Batch
	require.NoError(t, blk.Spans(t.Context(), rows, &got))
	for i := range got.Spans {
		if want, have := storetest.Canonical(b, i), storetest.Canonical(&got, i); want != have {
			require.Equal(t, want, have)
		}
	}
	for _, key := range []string{"common", "key0", "key900", "key1500", "flood4000", "flood8000", "bad \xff", "not text", "none"} {
		for _, v := range []store.Value{store.String("v1"), store.Int(1), store.String("once"), store.String("\xff")} {
			for _, op := range []store.Op{store.OpEq, store.OpNotExists} {
				p := &store.Predicate{Column: store.Column{Scope: store.ScopeSpan, Name: key}, Op: op, Values: []store.Value{v}}
				for g := range blk.Meta().granules() {
					var sel store.Bitmap
					sel.Fill(store.GranuleRows)
					require.NoError(t, blk.Filter(t.Context(), g, p, &sel))
					want := 0
					for i := g * store.GranuleRows; i < min(n, (g+1)*store.GranuleRows); i++ {
						var vals []store.Value
						if v, ok := firstAttr(b.Spans[i].Attrs, key); ok {
							vals = append(vals, v)
						}
						if p.MatchSpan(vals) {
							want++
						}
					}
					require.Equal(t, want, sel.Count(), "%q %s %v in granule %d", key, op, v, g)
					require.True(t, want == 0 || blk.MayMatch(g, p))
				}
			}
		}
	}
	require.NoError(t, blk.Release())
}

// TestHugeValues has values that are larger than a page may be.
func TestHugeValues(t *testing.T) {
	size := 3 << 20
	if full() {
		size = 10 << 20
	}
	b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for i := range 40 {
		s := store.Span{TraceID: spanid.TraceID{byte(i)}, StartNano: uint64(i + 1), EndNano: uint64(i + 5), Name: "n"}
		if i%8 == 3 {
			huge := slices.Repeat([]byte{byte('a' + i%26)}, size+i)
			s.Attrs = []store.Attr{{Key: "huge", Value: store.String(string(huge))}, {Key: "raw", Value: store.Bytes(string(huge))}}
			s.StatusMessage = string(huge[:size])
		} else {
			s.Attrs = []store.Attr{{Key: "huge", Value: store.String(strconv.Itoa(i))}}
		}
		b.Spans = append(b.Spans, s)
	}
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	writeBlock(t, fs, "x", b, WriterOptions{})
	blk, err := newTestReader(t, fs).Open("blocks/x")
	require.NoError(t, err)
	var got store.Batch
	rows := make([]uint32, len(b.Spans))
	for i := range rows {
		rows[i] = uint32(i)
	}
	require.NoError(t, blk.Spans(t.Context(), rows, &got))
	for i := range got.Spans {
		if b.Spans[i].StatusMessage != got.Spans[i].StatusMessage { // too long to be printed
			t.Fatalf("span %d has another status message of %d bytes", i, len(got.Spans[i].StatusMessage))
		}
		require.True(t, slices.Equal(b.Spans[i].Attrs, got.Spans[i].Attrs), "span %d", i)
	}
	for i, want := range map[int]int{0: 1, 3: 1} {
		p := &store.Predicate{
			Column: store.Column{Scope: store.ScopeSpan, Name: "huge"}, Op: store.OpEq, Values: []store.Value{b.Spans[i].Attrs[0].Value},
		}
		var sel store.Bitmap
		sel.Fill(len(rows))
		require.True(t, blk.MayMatch(-1, p))
		require.NoError(t, blk.Filter(t.Context(), 0, p, &sel))
		require.Equal(t, want, sel.Count())
	}
	require.NoError(t, blk.Release())
}
