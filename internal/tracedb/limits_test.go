package tracedb_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// drop is a dropped head or block.
type drop struct {
	reason tracedb.DropReason
	spans  int
	head   bool
}

// drops collects the events of dropped heads and blocks.
type drops struct {
	mu     sync.Mutex
	events []drop
	more   func() // called after each
}

func (d *drops) add(e drop) {
	d.mu.Lock()
	d.events = append(d.events, e)
	d.mu.Unlock()
	if d.more != nil {
		d.more()
	}
}

func (d *drops) list() []drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]drop(nil), d.events...)
}

func (d *drops) listener() *tracedb.Listener {
	return &tracedb.Listener{
		HeadDropped:  func(e tracedb.HeadDropped) { d.add(drop{e.Reason, e.Spans, true}) },
		BlockDropped: func(e tracedb.BlockDropped) { d.add(drop{e.Reason, e.Spans, false}) },
	}
}

// TestMemoryStaysBounded fills the memory many times over: heads become blocks, memory stays in bounds, nothing is lost.
func TestMemoryStaysBounded(t *testing.T) {
	var d drops
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, MemoryBytes: 2 << 20, Listener: d.listener()}
	opts.Compaction.Off = true // A merge in the background would have memory, too.
	db := open(t, opts)
	g := testkit.NewGenerator(1)
	var appended int
	for db.Stats().Blocks < 6 {
		b := g.Batch(100)
		require.NoError(t, db.Append(t.Context(), b))
		appended += len(b.Spans)
		require.LessOrEqual(t, db.Stats().Memory.Used, int64(1<<20)+1<<19)
	}
	require.NoError(t, db.Flush())
	st := db.Stats()
	require.Equal(t, st.HeadBytes, st.Memory.Used)
	require.Empty(t, d.list())
	require.Equal(t, appended, st.Spans)
	require.Less(t, st.WALBytes, int64(1<<20))

	require.NoError(t, db.Close(t.Context()))
	opts.Listener = nil
	again := open(t, opts)
	assert.Equal(t, st.Spans, again.Stats().Spans)
	assert.GreaterOrEqual(t, again.Stats().Blocks, st.Blocks)
}

// TestAppendWaitsForViews holds a view whose memory is needed: an append waits, fails with ErrFull when its context
// ends, and goes on when the view is released.
func TestAppendWaitsForViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, tracedb.Options{MemoryBytes: 4 << 20, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}})
		g := testkit.NewGenerator(2)
		var views []store.View
		var err error
		for range 200 { // Views of all times hold all heads.
			v, viewErr := db.View()
			require.NoError(t, viewErr)
			views = append(views, v)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err = db.Append(ctx, g.Batch(300))
			cancel()
			if err != nil {
				break
			}
		}
		require.ErrorIs(t, err, store.ErrFull)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, store.Retryable(err))
		before := db.Stats()
		require.Positive(t, before.RetainedBytes)
		require.Positive(t, before.Spans, "no more is dropped than helps")

		done := make(chan error, 1)
		b := g.Batch(300)
		go func() { done <- db.Append(t.Context(), b) }()
		synctest.Wait()
		require.Equal(t, 1, db.Stats().Memory.Waiters)
		for _, v := range views {
			v.Release()
		}
		require.NoError(t, <-done)
		require.Zero(t, db.Stats().RetainedBytes)
	})
}

// TestCloseEndsWaiting closes a DB while an append waits for memory.
func TestCloseEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, tracedb.Options{MemoryBytes: 4 << 20})
		g := testkit.NewGenerator(2)
		done := make(chan error, 1)
		stop := false
		var views []store.View
		for !stop {
			v, err := db.View()
			require.NoError(t, err)
			views = append(views, v)
			go func() { done <- db.Append(t.Context(), g.Batch(300)) }()
			synctest.Wait()
			select {
			case err := <-done:
				require.NoError(t, err)
			default:
				stop = true
			}
		}
		require.NoError(t, db.Close(t.Context()))
		require.ErrorIs(t, <-done, store.ErrClosed)
		_, err := db.View()
		require.ErrorIs(t, err, store.ErrClosed)
		require.ErrorIs(t, db.Append(t.Context(), testkit.NewGenerator(1).Batch(1)), store.ErrClosed)
		_, err = db.DeleteTrace(t.Context(), spanid.TraceID{1})
		require.ErrorIs(t, err, store.ErrClosed)
		for _, v := range views {
			require.NotPanics(t, func() { v.Split(); v.Parts() }, "views outlive the store")
			v.Release()
		}
	})
}

// TestLargeBatches stores a value of 10 MB and a request of 32 MiB, and refuses for good what can never fit.
func TestLargeBatches(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys}
	db := open(t, opts)
	big := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{
		TraceID: spanid.TraceID{1}, SpanID: spanid.SpanID{1},
		Attrs: []store.Attr{{Key: "big", Value: store.String(strings.Repeat("0123456789", 1e6))}},
	}}}
	require.NoError(t, db.Append(t.Context(), big))
	request := testkit.NewGenerator(3).Batch(1000)
	text := make([]byte, 32<<10)
	rng := rand.NewChaCha8([32]byte{1})
	for i := range 1000 {
		if i == 0 || full() { // Random text takes long to make under the race detector.
			_, _ = rng.Read(text) // It never fails.
		}
		text[i] ^= 1
		request.Spans[i].Attrs = append(request.Spans[i].Attrs, store.Attr{Key: "blob", Value: store.Bytes(string(text))})
	}
	require.NoError(t, db.Append(t.Context(), request))
	want := &store.Batch{}
	merge(want, big)
	merge(want, request)
	require.NoError(t, db.Close(t.Context()))
	db = open(t, opts)
	require.Equal(t, len(want.Spans), db.Stats().Spans)
	v, err := db.View()
	require.NoError(t, err)
	defer v.Release()
	tr, err := v.Trace(t.Context(), spanid.TraceID{1}, 0)
	require.NoError(t, err)
	storetest.RequireSameSpans(t, big, &tr.Batch)

	small := open(t, tracedb.Options{MemoryBytes: 16 << 20, Dir: "other"})
	err = small.Append(t.Context(), big)
	require.ErrorIs(t, err, store.ErrTooLarge)
	require.False(t, store.Retryable(err))
	require.ErrorContains(t, err, "allow more memory")
}

// TestDiskFull makes the disk full: appends fail with a retryable error, nothing stored is lost, and when there is room
// again the store goes on.
func TestDiskFull(t *testing.T) {
	for _, op := range []fsx.Op{fsx.OpWrite, fsx.OpSync, fsx.OpCreate} {
		t.Run(op.String(), func(t *testing.T) {
			mem := fsx.NewMem()
			faulty := fsx.NewFaulty(mem)
			opts := tracedb.Options{FS: faulty, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways, SegmentBytes: 16 << 10}}
			db := open(t, opts)
			g := testkit.NewGenerator(4)
			want := &store.Batch{}
			add := func() {
				t.Helper()
				b := g.Batch(20)
				require.NoError(t, db.Append(t.Context(), b))
				merge(want, b)
			}
			for range 5 {
				add()
			}
			faulty.Inject(fsx.Fault{Op: op, Times: -1, Err: syscall.ENOSPC, Short: 100})
			for range 10 {
				b := g.Batch(100)
				err := db.Append(t.Context(), b)
				if op == fsx.OpCreate && err == nil {
					merge(want, b) // The segment had room still.
					continue
				}
				require.ErrorIs(t, err, store.ErrFull)
				require.True(t, store.Retryable(err))
				got, _ := everything(t, db)
				require.Len(t, got.Spans, len(want.Spans), "nothing of a refused batch is visible")
			}
			require.Positive(t, db.Stats().RefusedBatches)
			faulty.Clear()
			for range 5 {
				add()
			}
			got, _ := everything(t, db)
			storetest.RequireSameSpans(t, want, got)
			require.NoError(t, db.Close(t.Context()))
			again := open(t, opts)
			got, _ = everything(t, again)
			storetest.RequireSameSpans(t, want, got)
		})
	}
}

// sized is a file system of a known size with so much free space as the test says.
type sized struct {
	*fsx.Mem
	free atomic.Uint64
}

func (s *sized) FreeBytes(string) (uint64, error)  { return s.free.Load(), nil }
func (s *sized) TotalBytes(string) (uint64, error) { return 1000, nil }

// TestMinFreePercentage drops the frozen heads when the disk gets full, then refuses, then recovers.
func TestMinFreePercentage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &sized{Mem: fsx.NewMem()}
		fsys.free.Store(500)
		var d drops
		events := make(chan string, 10)
		d.more = func() {
			if len(d.list()) == 1 {
				fsys.free.Store(100) // The first is enough.
			}
		}
		listener := d.listener()
		listener.Full = func(reason string) { events <- reason }
		listener.Recovered = func() { events <- "recovered" }
		db := open(t, tracedb.Options{
			FS: fsys, Retention: tracedb.Retention{MinFreePercentage: 10},
			Listener: listener,
		})
		g := testkit.NewGenerator(5)
		for range 2 {
			require.NoError(t, db.Append(t.Context(), g.Batch(50)))
			require.NoError(t, db.Cut())
		}
		require.NoError(t, db.Append(t.Context(), g.Batch(50)))
		fsys.free.Store(99)
		time.Sleep(2 * time.Second) // Fake: the clock of the bubble.
		synctest.Wait()
		require.Len(t, d.list(), 1)
		require.Equal(t, tracedb.DropDisk, d.list()[0].reason)
		require.NoError(t, db.Append(t.Context(), g.Batch(50)))
		require.Empty(t, events)

		fsys.free.Store(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, d.list(), 2)
		err := db.Append(t.Context(), g.Batch(50))
		require.ErrorIs(t, err, store.ErrFull)
		require.ErrorContains(t, err, "min_free_percentage")
		require.Contains(t, <-events, "min_free_percentage")
		require.NotEmpty(t, db.Stats().Full)
		require.Positive(t, db.Stats().Spans, "the live head stays")

		fsys.free.Store(400)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.NoError(t, db.Append(t.Context(), g.Batch(50)))
		require.Equal(t, "recovered", <-events)
	})
}

// TestRetention cuts by age and drops by age and by size.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d drops
		cuts := make(chan tracedb.HeadCut, 10)
		listener := d.listener()
		listener.HeadCut = func(c tracedb.HeadCut) { cuts <- c }
		db := open(t, tracedb.Options{
			Cut: tracedb.CutOptions{Age: time.Minute}, Listener: listener, Retention: tracedb.Retention{MaxAge: time.Hour},
		})
		g := testkit.NewGenerator(6)
		g.SetTime(time.Now())
		b := g.Batch(50)
		require.NoError(t, db.Append(t.Context(), b))
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.Empty(t, cuts)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, cuts, 1)
		cut := <-cuts
		require.Equal(t, tracedb.CutAge, cut.Reason)
		require.Equal(t, len(b.Spans), cut.Spans)
		time.Sleep(58 * time.Minute)
		synctest.Wait()
		require.Equal(t, len(b.Spans), db.Stats().Spans)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Zero(t, db.Stats().Spans)
		require.Equal(t, tracedb.DropAge, d.list()[0].reason)
		logged := db.Stats().WALBytes
		require.Less(t, logged, int64(1<<10), "the log of a dropped head is freed")
	})
	synctest.Test(t, func(t *testing.T) {
		var d drops
		const limit = 400 << 10
		db := open(t, tracedb.Options{
			Listener: d.listener(), Retention: tracedb.Retention{MaxSizeBytes: limit},
		})
		g := testkit.NewGenerator(7)
		for range 30 {
			require.NoError(t, db.Append(t.Context(), g.Batch(200)))
			time.Sleep(time.Second)
			synctest.Wait()
			st := db.Stats()
			require.LessOrEqual(t, st.WALBytes+st.BlockBytes, int64(limit+100<<10))
		}
		require.NotEmpty(t, d.list())
		require.Equal(t, tracedb.DropSize, d.list()[0].reason)
		st := db.Stats()
		require.Greater(t, st.WALBytes+st.BlockBytes, int64(limit/2), "no more is dropped than needed")
	})
}

// TestLogCountsForSize has no blocks, because none can be written: the log of frozen heads alone is more than the limit, and
// the oldest go.
func TestLogCountsForSize(t *testing.T) {
	const limit = 128 << 10
	var d drops
	db := open(t, tracedb.Options{
		Retention: tracedb.Retention{MaxSizeBytes: limit}, Cut: tracedb.CutOptions{MaxFrozen: 100}, MaintenanceInterval: time.Hour, Listener: d.listener(),
	})
	resume := sync.OnceFunc(db.HoldFlush())
	defer resume()
	g := testkit.NewGenerator(9)
	want := &store.Batch{}
	var sizes []int // of the heads
	for db.Stats().WALBytes < 2*limit {
		b := g.Batch(50)
		require.NoError(t, db.Append(t.Context(), b))
		require.NoError(t, db.Cut())
		merge(want, b)
		sizes = append(sizes, len(b.Spans))
	}
	db.Tick()
	st := db.Stats()
	require.LessOrEqual(t, st.WALBytes, int64(limit))
	require.Greater(t, st.WALBytes, int64(limit/2), "no more is dropped than needed")
	gone := 0
	for i, e := range d.list() {
		require.Equal(t, drop{tracedb.DropSize, sizes[i], true}, e, "the oldest first")
		gone += e.spans
	}
	require.Positive(t, gone)
	want.Spans = want.Spans[gone:]
	got, _ := everything(t, db)
	storetest.RequireSameSpans(t, want, got)
}

// TestDropFreesExactly drops the oldest of heads with one log record each: after a restart that one is gone and no
// other.
func TestDropFreesExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &sized{Mem: fsx.NewMem()}
		fsys.free.Store(500)
		opts := tracedb.Options{
			FS: fsys, Dir: "data", Retention: tracedb.Retention{MinFreePercentage: 10},
			Listener: &tracedb.Listener{HeadDropped: func(tracedb.HeadDropped) { fsys.free.Store(500) }},
			Cut:      tracedb.CutOptions{MaxFrozen: 9},
		}
		db := open(t, opts)
		resume := db.HoldFlush()
		g := testkit.NewGenerator(8)
		want := &store.Batch{}
		for i := range 4 {
			b := g.Batch(20)
			require.NoError(t, db.Append(t.Context(), b))
			require.NoError(t, db.Cut())
			if i > 0 {
				merge(want, b)
			}
		}
		fsys.free.Store(10)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got, _ := everything(t, db)
		storetest.RequireSameSpans(t, want, got)
		resume()
		require.NoError(t, db.Close(t.Context()))
		got, _ = everything(t, open(t, opts))
		storetest.RequireSameSpans(t, want, got)
	})
}
