package tracedb_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// open opens a DB on a file system in memory unless opts say otherwise, and closes it at the end of the test.
func open(tb testing.TB, opts tracedb.Options) *tracedb.DB {
	tb.Helper()
	if opts.FS == nil {
		opts.FS = fsx.NewMem()
	}
	if opts.Dir == "" {
		opts.Dir = "data"
	}
	db, err := tracedb.Open(tb.Context(), opts)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		requireAccounts(tb, db, opts.FS, opts.Dir)
		require.NoError(tb, db.Close(context.Background()))
	})
	return db
}

func TestConformance(t *testing.T) {
	all := map[string]tracedb.Options{
		"tiny blocks":     {Cut: tracedb.CutOptions{Spans: 70, MaxFrozen: 1}, MaxColumns: 20},
		"tiny heads":      {Cut: tracedb.CutOptions{Spans: 70, MaxFrozen: 1 << 20}, MaxColumns: 20},
		"one head":        {},
		"every batch cut": {Cut: tracedb.CutOptions{Spans: 1}, WAL: tracedb.WALOptions{Sync: tracedb.SyncOff}},
		"few columns":     {Cut: tracedb.CutOptions{Spans: 500}, MaxColumns: 5, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}},
	}
	for name, opts := range all {
		if name != "tiny blocks" && !full() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) store.Store { return open(t, opts) })
		})
	}
}
