package tracedb_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// FuzzDirectory opens a store one of whose files has arbitrary contents: those of the directory, and those from which a
// damaged block is repaired. It opens, or says in an error what is wrong; whatever is shown can be read, and it closes.
func FuzzDirectory(f *testing.F) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{
		FS: fsys, Dir: "data", MaintenanceInterval: time.Hour, MemoryBytes: 16 << 20,
		Scrub: tracedb.ScrubOptions{BytesPerSecond: 1 << 40}, Compaction: tracedb.CompactionOptions{Off: true},
	}
	db, err := tracedb.Open(f.Context(), opts)
	require.NoError(f, err)
	all := fill(f, db, testkit.NewGenerator(1), 1, 20)
	_, err = db.DeleteTrace(f.Context(), all.Spans[0].TraceID)
	require.NoError(f, err)
	_, err = db.Scrub(f.Context())
	require.NoError(f, err)
	require.NoError(f, db.Close(context.Background()))
	original := map[string][]byte{}
	var paths []string
	for _, path := range files(f, fsys, "data") {
		if filepath.Base(path) == "LOCK" {
			continue
		}
		original[path], err = fsx.ReadFile(fsys, path)
		require.NoError(f, err)
		f.Add(uint8(len(paths)), original[path])
		f.Add(uint8(len(paths)), []byte("{}"))
		f.Add(uint8(len(paths)), original[path][:len(original[path])/2])
		paths = append(paths, path)
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		mem := fsx.NewMem()
		for path, was := range original {
			require.NoError(t, mem.MkdirAll(filepath.Dir(path)))
			if path == paths[int(which)%len(paths)] {
				was = data
			}
			require.NoError(t, fsx.WriteFileAtomic(mem, path, was))
		}
		opts := opts
		opts.FS = mem
		db, err := tracedb.Open(t.Context(), opts)
		if err != nil {
			require.NotContains(t, err.Error(), "panicked")
			return
		}
		defer func() { require.NoError(t, db.Close(context.Background())) }()
		_, err = db.Scrub(t.Context())
		require.NoError(t, err)
		if err := db.Flush(); err != nil { // It repairs what can be.
			require.NotContains(t, err.Error(), "panicked")
			return
		}
		everything(t, db)
	})
}
