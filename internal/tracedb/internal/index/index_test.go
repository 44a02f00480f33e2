package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

func randomTraces(seed uint64, n int) []Trace {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]Trace, n)
	row := uint32(0)
	for i := range out {
		e := &out[i]
		for j := range e.ID {
			e.ID[j] = byte(rng.Uint32())
		}
		if seed%2 == 0 { // ids that share their first half, as 64-bit ids do
			clear(e.ID[:8])
		}
		e.Row, e.Spans, e.Root = row, 1+rng.Uint32N(60), row
		if rng.IntN(3) == 0 {
			e.Root = NoRow
		}
		e.Start, e.End, e.Error = rng.Uint64(), rng.Uint64(), rng.IntN(5) == 0
		row += e.Spans
	}
	return out
}

func TestTraces(t *testing.T) {
	for seed, n := range []int{0, 1, 92, 93, 94, 186, 1000, 5000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			want := randomTraces(uint64(seed), n)
			var buf bytes.Buffer
			size, crc, err := WriteTraces(&buf, slices.Clone(want))
			require.NoError(t, err)
			require.EqualValues(t, buf.Len(), size)
			require.Equal(t, crc32.Checksum(buf.Bytes(), castagnoli), crc)
			x, err := OpenTraces(bytes.NewReader(buf.Bytes()), "traces.idx", size, n)
			require.NoError(t, err)
			require.Equal(t, n, x.Len())
			for _, e := range want {
				got, ok, err := x.Find(e.ID)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, e, got)
			}
			missed, wrong := 0, 0
			for _, e := range randomTraces(uint64(seed)+100, 2000) {
				if !x.MayHave(e.ID) {
					missed++
				}
				if _, ok, err := x.Find(e.ID); ok || err != nil {
					wrong++
				}
			}
			require.Zero(t, wrong)
			require.Greater(t, missed, 1900, "the bloom filter rejects most unknown ids")
			var all []Trace
			for p := range x.Pages() {
				all, err = x.Page(p, all)
				require.NoError(t, err)
			}
			slices.SortFunc(want, func(a, b Trace) int { return bytes.Compare(a.ID[:], b.ID[:]) })
			require.Len(t, all, len(want))
			for i := range want {
				require.Equal(t, want[i], all[i])
			}
		})
	}
}

func TestDuplicateTraces(t *testing.T) {
	e := randomTraces(3, 5)
	_, _, err := WriteTraces(&bytes.Buffer{}, append(e, e[2]))
	require.ErrorIs(t, err, ErrDuplicate)
}

func catalogue() []store.AttributeInfo {
	return []store.AttributeInfo{
		{
			Column: store.Column{Scope: store.ScopeSpan, Name: "http.route"}, Type: store.TypeString, Rows: 10, Complete: true,
			Top: []store.ValueCount{{Value: store.String("/a"), Count: 7}, {Value: store.String(""), Count: 3}},
		},
		{
			Column: store.Column{Scope: store.ScopeSpan, Name: ""}, Type: store.TypeInt, Rows: 2,
			Top: []store.ValueCount{{Value: store.Int(-5), Count: 2}},
		},
		{
			Column: store.Column{Scope: store.ScopeEvent, Name: "f"}, Type: store.TypeFloat, Rows: 1,
			Top: []store.ValueCount{{Value: store.Float(math.Inf(-1)), Count: 1}},
		},
		{Column: store.Column{Scope: store.ScopeLink, Name: "m"}, Type: store.TypeMap, Rows: 1 << 30},
	}
}

func TestCatalog(t *testing.T) {
	for _, want := range [][]store.AttributeInfo{nil, catalogue()} {
		b, err := EncodeCatalog(want)
		require.NoError(t, err)
		got, err := DecodeCatalog(b, "attrs.idx")
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i], got[i])
		}
		for i := range b {
			bad := slices.Clone(b)
			bad[i] ^= 1
			_, err := DecodeCatalog(bad, "attrs.idx")
			var ce *store.CorruptionError
			require.ErrorAs(t, err, &ce, "byte %d", i)
		}
		for i := range b {
			_, err := DecodeCatalog(b[:i], "attrs.idx")
			require.Error(t, err, "cut to %d bytes", i)
		}
	}
}

func TestSortTop(t *testing.T) {
	var many []store.ValueCount
	for i := range 500 {
		many = append(many, store.ValueCount{Value: store.Int(int64(i)), Count: i % 7})
	}
	top, complete := SortTop(many)
	require.False(t, complete)
	require.Len(t, top, maxTop)
	require.Equal(t, 6, top[0].Count)
	require.True(t, slices.IsSortedFunc(top, func(a, b store.ValueCount) int { return b.Count - a.Count }))
	long := []store.ValueCount{{Value: store.String(string(make([]byte, 2*maxTopBytes))), Count: 1}}
	top, complete = SortTop(long)
	require.Empty(t, top)
	require.False(t, complete)
}

// FuzzTraces reads arbitrary bytes as a trace index; the footer's checksum is made right.
func FuzzTraces(f *testing.F) {
	var buf bytes.Buffer
	_, _, err := WriteTraces(&buf, randomTraces(5, 100))
	require.NoError(f, err)
	f.Add(buf.Bytes(), 100)
	f.Add(make([]byte, footerSize+bloomUnit), 0)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if len(data) >= footerSize {
			foot := data[len(data)-footerSize:]
			binary.LittleEndian.PutUint32(foot[36:], crc32.Checksum(foot[:36], castagnoli))
		}
		x, err := OpenTraces(bytes.NewReader(data), "fuzz", int64(len(data)), n)
		if err == nil {
			_, _, err = x.Find(spanid.TraceID{1})
			for p := range x.Pages() {
				if _, perr := x.Page(p, nil); perr != nil {
					err = perr
				}
			}
		}
		if _, ok := errors.AsType[*store.CorruptionError](err); err != nil && !ok {
			t.Fatalf("not a corruption error: %v", err)
		}
	})
}

// FuzzCatalog decodes arbitrary bytes as an attribute catalogue with the right checksum.
func FuzzCatalog(f *testing.F) {
	b, err := EncodeCatalog(catalogue())
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= catalogHead {
			binary.LittleEndian.PutUint32(data[16:], catalogSum(data))
		}
		attrs, err := DecodeCatalog(data, "fuzz")
		if err != nil {
			if _, ok := errors.AsType[*store.CorruptionError](err); !ok {
				t.Fatalf("not a corruption error: %v", err)
			}
			return
		}
		again, err := EncodeCatalog(attrs)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeCatalog(again, "fuzz")
		if err != nil || len(back) != len(attrs) {
			t.Fatalf("second round trip: %d of %d, %v", len(back), len(attrs), err)
		}
	})
}

// FuzzCatalogRaw decodes arbitrary bytes as the uncompressed contents of a catalogue.
func FuzzCatalogRaw(f *testing.F) {
	f.Add([]byte{1, 2, 1, 1, 'a', 5, 1, 3, 1, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := cursor{b: data}
		for range 100 {
			c.attribute()
			if c.bad {
				return
			}
		}
	})
}
