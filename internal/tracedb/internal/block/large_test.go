package block

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// TestLargeValuesAreNotCopiedOften writes three values of 10 MB: what is allocated meanwhile is a small multiple of them,
// also when there are so many keys that columns have to go.
func TestLargeValuesAreNotCopiedOften(t *testing.T) {
	const values, size = 3, 10_000_000
	for name, keys := range map[string]int{"few keys": 0, "many keys": 2500} {
		t.Run(name, func(t *testing.T) {
			allocated := func(large string) uint64 {
				b := testkit.NewGenerator(2).Batch(max(keys, 1000))
				sortRows(b)
				for i := range b.Spans {
					s := &b.Spans[i]
					if i < values {
						s.Attrs = append(s.Attrs, store.Attr{Key: "large", Value: store.String(large)})
					}
					if i < keys {
						s.Attrs = append(s.Attrs, store.Attr{Key: fmt.Sprintf("key.%d", i), Value: store.Int(int64(i))})
					}
				}
				w, err := NewWriter(fsx.OS{}, t.TempDir(), WriterOptions{ID: "x"})
				require.NoError(t, err)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				require.NoError(t, w.Append(t.Context(), b))
				_, err = w.Finish(t.Context())
				require.NoError(t, err)
				runtime.ReadMemStats(&after)
				return after.TotalAlloc - before.TotalAlloc
			}
			without := allocated("")
			with := allocated(strings.Repeat("0123456789", size/10))
			t.Logf("%.1f bytes for each byte of the values", float64(with-without)/(values*size))
			require.Less(t, with-without, uint64(7*values*size/2))
		})
	}
}

// TestLargeServiceName writes a resource whose name has 10 MB, with many spans: the name is in the block once, and not in
// zone maps, the catalogue or a row of every span, whose column has its beginning.
func TestLargeServiceName(t *testing.T) {
	const size, spans = 10_000_000, 3000
	b := testkit.NewGenerator(3).Batch(spans)
	sortRows(b)
	random := rand.NewChaCha8([32]byte{1}) // It does not get smaller by compression.
	raw := make([]byte, size*3/4)
	_, _ = random.Read(raw)
	name := "é" + base64.RawStdEncoding.EncodeToString(raw)
	b.Resources = []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String(name)}}}}
	for i := range b.Spans {
		b.Spans[i].Resource = 0
	}
	dir := t.TempDir()
	w, err := NewWriter(fsx.OS{}, dir, WriterOptions{ID: "x"})
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, w.Append(t.Context(), b))
	m, err := w.Finish(t.Context())
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	t.Logf("%d bytes in the block, %.1f bytes allocated for each of the name", m.Bytes(), float64(after.TotalAlloc-before.TotalAlloc)/size)
	require.Less(t, m.Bytes(), int64(size+500*spans))
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20*size+5000*spans))
	for file, l := range m.Files {
		if file != "resources.parquet" {
			require.Less(t, l.Size, int64(300*spans), file)
		}
	}

	r, err := NewReader(fsx.OS{}, NewLRU(1<<20), 1)
	require.NoError(t, err)
	defer r.Close()
	blk, err := r.Open(filepath.Join(dir, "x"))
	require.NoError(t, err)
	defer func() { require.NoError(t, blk.Release()) }()
	p := &store.Predicate{Column: store.Column{Scope: store.ScopeResource, Name: "service.name"}, Op: store.OpEq, Values: []store.Value{store.String(name)}}
	var sel store.Bitmap
	sel.Fill(spans)
	require.True(t, blk.MayMatch(0, p))
	require.NoError(t, blk.Filter(t.Context(), 0, p, &sel))
	require.Equal(t, spans, sel.Count(), "found by the whole name")
	p.Values[0] = store.String(name[:maxServiceName])
	sel.Fill(spans)
	require.NoError(t, blk.Filter(t.Context(), 0, p, &sel))
	require.Zero(t, sel.Count(), "not by its beginning")
	var got store.Batch
	require.NoError(t, blk.Spans(t.Context(), []uint32{7}, &got))
	require.Zero(t, strings.Compare(name, got.Resources[0].Attrs[0].Value.Str)) // Equal would print it.
}

func TestServiceNameColumn(t *testing.T) {
	long := strings.Repeat("x", maxServiceName)
	for _, tc := range []struct{ name, want string }{
		{"", ""},
		{"checkout", "checkout"},
		{long, long},
		{long + "y", long},
		{long[1:] + "é", long[1:]}, // Not half of a character.
		{long[1:] + "\xff\xff", long[1:] + "\xff"}, // What is not UTF-8 is not read as such.
	} {
		require.Equal(t, tc.want, columnName(tc.name))
	}
}
