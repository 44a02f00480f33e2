package index

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
)

func someCounts() *Counts {
	return &Counts{
		Columns: []ColumnCounts{
			{
				Column: store.Intrinsic(store.SpanName), Type: store.TypeString, Coded: true,
				Counts: []store.SpanCount{{Spans: 70_000, Errors: 3}, {}, {Spans: 1, Errors: 1}},
			},
			{
				Column: store.Column{Scope: store.ScopeSpan, Name: "n"}, Type: store.TypeInt,
				Values: []store.Value{store.Int(-5), store.Int(7)}, Counts: []store.SpanCount{{Spans: 2}, {Spans: 3, Errors: 1}},
			},
			{
				Column: store.Column{Scope: store.ScopeEvent, Name: "é"}, Type: store.TypeString, Sum: store.SpanCount{Spans: 900, Errors: 12}, Max: 4,
				Values: []store.Value{store.String("")}, Counts: []store.SpanCount{{Spans: 8}},
			},
			{Column: store.Column{Scope: store.ScopeLink, Name: "x"}, Type: store.TypeString, Unknown: true, Values: []store.Value{}, Counts: []store.SpanCount{}},
		},
		Roots: []store.RootCount{{Name: "GET /", Service: "shop", SpanCount: store.SpanCount{Spans: 9, Errors: 1}}, {}},
	}
}

func unzip(tb testing.TB) func(b []byte, size int) ([]byte, error) {
	tb.Helper()
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	require.NoError(tb, err)
	tb.Cleanup(z.Close)
	return func(b []byte, size int) ([]byte, error) {
		return z.DecodeAll(b, make([]byte, 0, min(size, 1<<20)))
	}
}

func TestCountsRoundTrip(t *testing.T) {
	e, err := NewCountsEncoder()
	require.NoError(t, err)
	first := e.Encode(someCounts())
	second := e.Encode(&Counts{NoRoots: true})
	file := EncodeCountsFile([][]byte{first, nil, second})
	sections, err := DecodeCountsFile(file, 3, "counts.idx")
	require.NoError(t, err)
	require.Len(t, sections, 3)
	require.Empty(t, sections[1])
	raw, err := UnpackCounts(sections[0], unzip(t), "counts.idx")
	require.NoError(t, err)
	got, err := DecodeCounts(raw, "counts.idx")
	require.NoError(t, err)
	require.Equal(t, someCounts(), got)
	raw, err = UnpackCounts(sections[2], unzip(t), "counts.idx")
	require.NoError(t, err)
	got, err = DecodeCounts(raw, "counts.idx")
	require.NoError(t, err)
	require.Equal(t, &Counts{NoRoots: true}, got)

	var damage *store.CorruptionError
	_, err = DecodeCountsFile(file, 2, "counts.idx")
	require.ErrorAs(t, err, &damage, "another number of row groups")
	for i := range file {
		file[i] ^= 4
		_, err = DecodeCountsFile(file, 3, "counts.idx")
		require.ErrorAs(t, err, &damage, "byte %d", i)
		file[i] ^= 4
	}
}

// FuzzCounts decodes arbitrary bytes as counts.idx with the right checksum, and as the contents of a section.
func FuzzCounts(f *testing.F) {
	e, err := NewCountsEncoder()
	require.NoError(f, err)
	section := e.Encode(someCounts())
	raw, err := UnpackCounts(section, unzip(f), "fuzz")
	require.NoError(f, err)
	f.Add(EncodeCountsFile([][]byte{section, nil}), 2)
	f.Add(raw, 0)
	f.Fuzz(func(t *testing.T, data []byte, groups int) {
		check := func(err error) {
			if _, ok := errors.AsType[*store.CorruptionError](err); err != nil && !ok {
				t.Fatalf("not a corruption error: %v", err)
			}
		}
		counts, err := DecodeCounts(data, "fuzz")
		check(err)
		if err == nil {
			for _, c := range counts.Columns {
				require.True(t, c.Coded || len(c.Values) == len(c.Counts))
			}
		}
		if len(data) >= countsHead {
			binary.LittleEndian.PutUint32(data[12:], countsSum(data))
		}
		sections, err := DecodeCountsFile(data, min(max(groups, 0), 1000), "fuzz")
		check(err)
		for _, s := range sections {
			raw, err := UnpackCounts(s, unzip(t), "fuzz")
			check(err)
			if err == nil {
				_, err = DecodeCounts(raw, "fuzz")
				check(err)
			}
		}
	})
}
