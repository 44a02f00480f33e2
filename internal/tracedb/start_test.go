package tracedb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// copyBlock copies a block under a new id: its meta names the id, and has a checksum.
func copyBlock(t *testing.T, from, parent, id string) {
	t.Helper()
	to := filepath.Join(parent, id)
	require.NoError(t, os.Mkdir(to, 0o750))
	list, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, f := range list {
		data, err := os.ReadFile(filepath.Join(from, f.Name())) //nolint:gosec // The test's own file.
		require.NoError(t, err)
		if filepath.Ext(f.Name()) == ".json" {
			_, body, ok := bytes.Cut(data, []byte("\n"))
			require.True(t, ok)
			body = bytes.ReplaceAll(body, []byte(filepath.Base(from)), []byte(id))
			data = append(fmt.Appendf(nil, "{\"crc32c\":\"%08x\",\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))), body...)
		}
		require.NoError(t, os.WriteFile(filepath.Join(to, f.Name()), data, 0o600))
	}
}

// TestOpenManyBlocks measures how long a store of 10 GB of blocks takes until it is open, and until it has found the
// traces that are in several blocks, which happens beside. Times are for the log: machines differ.
func TestOpenManyBlocks(t *testing.T) {
	if !full() {
		t.Skip("set BRAMBLE_FULL=1 to write 10 GB")
	}
	const total = 10e9
	dir := t.TempDir()
	opts := tracedb.Options{
		FS: fsx.OS{}, Dir: dir, Scrub: fastScrub, Compaction: tracedb.CompactionOptions{Off: true}, WAL: tracedb.WALOptions{Sync: tracedb.SyncOff},
	}
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	g := testkit.NewGenerator(1)
	for range 600 {
		require.NoError(t, db.Append(t.Context(), g.Batch(500)))
	}
	require.NoError(t, db.Rewrite(t.Context()))
	st := db.Stats()
	require.NoError(t, db.Close(context.Background()))
	blocks := filepath.Join(dir, "blocks")
	list, err := os.ReadDir(blocks)
	require.NoError(t, err)
	source := filepath.Join(blocks, list[0].Name())
	_, size := onDisk(t, fsx.OS{}, dir)
	require.Equal(t, st.BlockBytes, size)
	size = 0
	for _, f := range files(t, fsx.OS{}, source) {
		info, err := os.Stat(f)
		require.NoError(t, err)
		size += info.Size()
	}
	n := int(total / float64(size))
	entropy := ulid.Monotonic(bytesOf('x'), 0)
	for range n {
		id, err := ulid.New(ulid.Timestamp(time.Now()), entropy)
		require.NoError(t, err)
		copyBlock(t, source, blocks, id.String())
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "manifest.json"))) // It is made again from the metas.
	db, err = tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	rebuilt := db.Stats()
	require.NoError(t, db.Close(context.Background()))
	require.Equal(t, n+st.Blocks, rebuilt.Blocks)

	start := time.Now()
	db, err = tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	open := time.Since(start)
	got := db.Stats()
	require.Equal(t, rebuilt.Blocks, got.Blocks)
	require.GreaterOrEqual(t, got.BlockBytes, int64(total*0.95))
	start = time.Now()
	v, err := db.View()
	require.NoError(t, err)
	split := v.Split().Len()
	v.Release()
	knows := time.Since(start)
	start = time.Now()
	require.NoError(t, db.Close(context.Background()))
	out, err := json.Marshal(map[string]any{
		"blocks": got.Blocks, "bytes": got.BlockBytes, "spans": got.Spans, "open": open.String(), "split": knows.String(), "split_traces": split,
		"close": time.Since(start).String(),
	})
	require.NoError(t, err)
	t.Log(string(out))
}

// bytesOf is an endless source of one byte, for ids that are the same in each run but for the time.
type bytesOf byte

var _ io.Reader = bytesOf(0)

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}
