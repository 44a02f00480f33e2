package tracedb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

var changes = []fsx.Op{fsx.OpCreate, fsx.OpWrite, fsx.OpSync, fsx.OpSyncDir, fsx.OpRename, fsx.OpRemove, fsx.OpMkdir, fsx.OpClose}

// TestCompactionFaults makes each file operation of a merge, of the decision before it and of the manifest fail once:
// the old blocks stay readable, the next attempt succeeds, and nothing is lost or doubled, neither then, nor after a power cut
// at the moment of the fault, nor after a restart.
func TestCompactionFaults(t *testing.T) {
	for _, op := range changes {
		t.Run(op.String(), func(t *testing.T) {
			stride := 1
			if !full() {
				stride = 7
			}
			for after, hit := 0, true; hit; after += stride {
				hit = compactionFault(t, op, after)
			}
		})
	}
}

func compactionFault(t *testing.T, op fsx.Op, after int) (hit bool) {
	t.Helper()
	what := fmt.Sprintf("%s %d", op, after)
	s := newSampledStore(t)
	require.NoError(t, s.db.Close(t.Context()))
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	s.fs, s.opts.FS = mem, faulty
	s.db = open(t, s.opts)
	s.decide()
	for _, b := range pieces(testkit.NewGenerator(9).Batch(150), 2) {
		s.append(b)
	}
	s.now.Advance(2 * time.Hour)
	broken := errors.New("broken for once")
	faulty.Inject(fsx.Fault{Op: op, After: after, Err: broken, Short: 3})
	calls := faulty.Calls(op)
	err := s.db.Compact(t.Context())
	// Of what goes wrong with the removal of old files the listener is told, and it is done again.
	if err != nil {
		require.ErrorIs(t, err, broken, what)
	}
	hit = faulty.Calls(op)-calls > after
	crashed := mem.CrashClone(rand.New(rand.NewPCG(uint64(after), uint64(op))))
	got, _ := everything(t, s.db)
	require.True(t, len(got.Spans) == len(s.all.Spans) || len(got.Spans) == len(s.want(none).Spans), what)
	faulty.Clear()
	require.NoError(t, s.db.Compact(t.Context()), what)
	s.check(none)
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.db.Flush())
	for _, fs := range []*fsx.Mem{crashed, mem} {
		require.NoError(t, s.db.Close(t.Context()), what)
		s.opts.FS = fs
		s.db = open(t, s.opts)
		s.decide()
		got, _ := everything(t, s.db)
		require.True(t, len(got.Spans) == len(s.all.Spans) || len(got.Spans) == len(s.want(none).Spans), what)
		require.Zero(t, s.db.Stats().Corruptions, what)
		require.NoError(t, s.db.Compact(t.Context()), what)
		s.check(none)
		require.NoError(t, s.db.Flush())
		list, err := fs.ReadDir("data/blocks")
		require.NoError(t, err)
		require.Len(t, list, s.db.Stats().Blocks, "%s: no directory is left over", what)
	}
	require.NoError(t, s.db.Close(t.Context()))
	return hit
}

// TestCompactionPowerCuts opens what is left of a disk after power cuts at random operations of merges.
func TestCompactionPowerCuts(t *testing.T) {
	s := newSampledStore(t)
	require.NoError(t, s.db.Close(t.Context()))
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	s.fs, s.opts.FS = mem, faulty
	s.db = open(t, s.opts)
	s.decide()
	for _, b := range pieces(testkit.NewGenerator(10).Batch(300), 3) {
		s.append(b)
	}
	s.now.Advance(2 * time.Hour)
	var mu sync.Mutex // Columns are read by several goroutines. It guards rng and cuts.
	rng := rand.New(rand.NewPCG(4, 4))
	var cuts []*fsx.Mem
	most := 12
	if full() {
		most = 1000
	}
	faulty.Before(func(fsx.Op, string) {
		mu.Lock()
		defer mu.Unlock()
		if len(cuts) < most && (full() || rng.IntN(8) == 0) {
			cuts = append(cuts, mem.CrashClone(rng))
		}
	})
	require.NoError(t, s.db.Compact(t.Context()))
	faulty.Before(nil)
	require.NotEmpty(t, cuts)
	for i, fs := range cuts {
		s.reopen(fs)
		got, _ := everything(t, s.db)
		if len(got.Spans) == len(s.all.Spans) {
			storetest.RequireSameSpans(t, s.all, got)
		} else {
			storetest.RequireSameSpans(t, s.want(none), got)
		}
		require.NoError(t, s.db.Compact(t.Context()), "cut %d", i)
		s.check(none)
	}
}

// TestCloseDuringMerge ends a merge that has hardly begun: closing does not wait for it, and nothing of it is left.
func TestCloseDuringMerge(t *testing.T) {
	fsys := fsx.NewMem()
	began := make(chan struct{}, 1)
	faulty := fsx.NewFaulty(fsys)
	opts := tracedb.Options{FS: faulty, Dir: "data", Compaction: tracedb.CompactionOptions{MinBlocks: 2, CPUPercentage: 1}, MaintenanceInterval: time.Millisecond}
	off := opts
	off.Compaction.Off = true
	db := open(t, off)
	all := fill(t, db, testkit.NewGenerator(1), 3, 3000)
	require.NoError(t, db.Close(t.Context()))
	faulty.Before(func(op fsx.Op, path string) {
		if op == fsx.OpCreate && len(path) > 12 && path[:12] == "data/blocks/" {
			select {
			case began <- struct{}{}:
			default:
			}
		}
	})
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err)
	<-began
	require.NoError(t, db.Close(context.Background()))
	faulty.Before(nil)
	db = open(t, off)
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, all, got)
	require.Equal(t, map[int]int{0: 3}, levels(t, db))
	var _ store.Store = db
}
