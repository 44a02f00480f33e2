package manifest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

func some() *Manifest {
	return &Manifest{Version: Version, Sequence: 7, WALMark: 1<<63 + 5, Blocks: []Block{
		{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, {ID: "01ARZ3NDEKTSV4RRFFQ69G5FAW", Level: 2, Overlay: &block.OverlayRef{Name: "overlay-01", Size: 9, CRC: 1 << 31}},
	}}
}

// golden is what version 1 looks like, for ever.
const golden = `{"crc32c":"763b2e52",
"version":1,"sequence":"7","wal_mark":"9223372036854775813","blocks":[{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","level":0},` +
	`{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAW","level":2,"overlay":{"name":"overlay-01","size":9,"crc32c":2147483648}}]}
`

func TestRoundTrip(t *testing.T) {
	b, err := Encode(some())
	require.NoError(t, err)
	require.JSONEq(t, golden, string(b))
	m, err := Decode(b, "m")
	require.NoError(t, err)
	require.Equal(t, some(), m)
	fsys := fsx.NewMem()
	require.NoError(t, fsys.MkdirAll("d"))
	require.NoError(t, Save(fsys, "d", some()))
	m, err = Load(fsys, "d")
	require.NoError(t, err)
	require.Equal(t, some(), m)
}

// TestDamage flips every bit and cuts at every byte: each is found.
func TestDamage(t *testing.T) {
	b, err := Encode(some())
	require.NoError(t, err)
	for i := range b {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			_, err := Decode(bad, "m")
			require.Error(t, err, "byte %d bit %d", i, bit)
		}
		_, err := Decode(b[:i], "m")
		var corrupt *store.CorruptionError
		require.ErrorAs(t, err, &corrupt)
	}
}

func TestUnknownVersion(t *testing.T) {
	m := some()
	m.Version = 2
	b, err := Encode(m)
	require.NoError(t, err)
	_, err = Decode(b, "m")
	require.ErrorIs(t, err, ErrVersion)
	b[len(b)-5] ^= 1
	_, err = Decode(b, "m")
	require.ErrorIs(t, err, ErrVersion, "also when it is damaged, since it may be another format")
}

func TestImpossible(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"path":    func(m *Manifest) { m.Blocks[0].ID = "../X" },
		"no id":   func(m *Manifest) { m.Blocks[0].ID = "" },
		"twice":   func(m *Manifest) { m.Blocks[0].ID = m.Blocks[1].ID },
		"overlay": func(m *Manifest) { m.Blocks[1].Overlay.Name = filepath.Join("..", "x") },
		"version": func(m *Manifest) { m.Version = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			m := some()
			change(m)
			b, err := Encode(m)
			require.NoError(t, err)
			_, err = Decode(b, "m")
			var corrupt *store.CorruptionError
			require.ErrorAs(t, err, &corrupt)
		})
	}
}

// TestRebuildOverlays takes the newest overlay of a block and of the decisions, however many there are, and does not fall
// back to an older one, in which fewer traces may be hidden.
func TestRebuildOverlays(t *testing.T) {
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	fsys := fsx.NewMem()
	require.NoError(t, fsys.MkdirAll("blocks"))
	w, err := block.NewWriter(fsys, "blocks", block.WriterOptions{ID: id, WALMark: 9})
	require.NoError(t, err)
	require.NoError(t, w.Append(t.Context(), testkit.NewGenerator(1).Batch(1)))
	_, err = w.Finish(t.Context())
	require.NoError(t, err)
	dir := filepath.Join("blocks", id)
	m, bad, err := Rebuild(fsys, "blocks", "decisions")
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Equal(t, &Manifest{Version: Version, WALMark: 9, Blocks: []Block{{ID: id}}}, m, "without overlays, and without decisions")

	newest := map[string]block.OverlayRef{}
	for d, name := range map[string]string{dir: id, "decisions": "decisions"} {
		require.NoError(t, fsys.MkdirAll(d))
		for _, seq := range []uint64{2, 17, 9} {
			ref, err := block.WriteOverlay(fsys, d, &block.Overlay{Block: name, Seq: seq})
			require.NoError(t, err)
			if seq == 17 {
				newest[d] = ref
			}
		}
	}
	require.NoError(t, fsx.WriteFileAtomic(fsys, filepath.Join(dir, "overlay-00000000000000ff.tmp"), []byte("half")))
	m, bad, err = Rebuild(fsys, "blocks", "decisions")
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Equal(t, newest[dir], *m.Blocks[0].Overlay)
	require.Equal(t, newest["decisions"], *m.Decisions)

	for d := range newest {
		require.NoError(t, fsx.WriteFileAtomic(fsys, filepath.Join(d, newest[d].Name), []byte("damaged")))
	}
	m, bad, err = Rebuild(fsys, "blocks", "decisions")
	require.NoError(t, err)
	require.Empty(t, m.Blocks)
	require.Nil(t, m.Decisions)
	var corrupt *store.CorruptionError
	require.ErrorAs(t, bad[id], &corrupt)
	require.ErrorContains(t, bad[id], newest[dir].Name)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"crc32c":"00000000",` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b, "m")
		if err != nil {
			return
		}
		again, err := Encode(m)
		require.NoError(t, err)
		back, err := Decode(again, "m")
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}
