package tracedb_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/wal"
)

func TestOptionsAreChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		opts tracedb.Options
		want string
	}{
		"no directory":   {tracedb.Options{}, "set Dir"},
		"little memory":  {tracedb.Options{Dir: "d", MemoryBytes: 1000}, "too little"},
		"sync mode":      {tracedb.Options{Dir: "d", WAL: tracedb.WALOptions{Sync: "sometimes"}}, "interval, always or off"},
		"free":           {tracedb.Options{Dir: "d", Retention: tracedb.Retention{MinFreePercentage: 100}}, "0 to 99"},
		"negative age":   {tracedb.Options{Dir: "d", Retention: tracedb.Retention{MaxAge: -1}}, "negative"},
		"negative cut":   {tracedb.Options{Dir: "d", Cut: tracedb.CutOptions{Spans: -1}}, "positive"},
		"segment length": {tracedb.Options{Dir: "d", WAL: tracedb.WALOptions{SegmentBytes: 1}}, "segment size"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.opts.FS = fsx.NewMem()
			_, err := tracedb.Open(t.Context(), tc.opts)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// TestSecondOpenIsRefused opens a directory twice, on real files and in memory.
func TestSecondOpenIsRefused(t *testing.T) {
	for name, opts := range map[string]tracedb.Options{
		"mem": {FS: fsx.NewMem(), Dir: "data"}, "os": {FS: fsx.OS{}, Dir: filepath.Join(t.TempDir(), "new", "data")},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, opts)
			_, err := tracedb.Open(t.Context(), opts)
			require.ErrorIs(t, err, fsx.ErrLocked)
			require.ErrorContains(t, err, "stop it or choose another directory")
			require.NoError(t, db.Append(t.Context(), testkit.NewGenerator(1).Batch(10)), "the first goes on")
			require.NoError(t, db.Close(t.Context()))
			require.NotZero(t, open(t, opts).Stats().Spans)
		})
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	for content, want := range map[string]string{
		`{"name":"bramble trace store","version":2}`: "version 2, this program reads 1",
		`{"name":"photo album","version":1}`:         "does not describe a trace store",
		`garbage`:                                    "does not describe a trace store",
	} {
		fsys := fsx.NewMem()
		db := open(t, tracedb.Options{FS: fsys})
		require.NoError(t, db.Close(t.Context()))
		path := filepath.Join("data", "format.json")
		good, err := fsx.ReadFile(fsys, path)
		require.NoError(t, err)
		require.NoError(t, fsx.WriteFileAtomic(fsys, path, []byte(content)))
		_, err = tracedb.Open(t.Context(), tracedb.Options{FS: fsys, Dir: "data"})
		require.ErrorIs(t, err, tracedb.ErrFormat)
		require.ErrorContains(t, err, want)
		require.NoError(t, fsx.WriteFileAtomic(fsys, path, good))
		open(t, tracedb.Options{FS: fsys}) // The refusal released the lock and changed nothing.
	}
}

// summed returns JSON whose first line is the checksum of the rest, as manifest.json and meta.json have it.
func summed(body []byte) []byte {
	return append(fmt.Appendf(nil, "{\"crc32c\":\"%08x\",\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))), body...)
}

// TestOtherVersions opens directories in which one kind of file is whole, but of a version to come. The error names the
// file, the versions and what to do, nothing is changed, and the version that wrote it finds everything.
func TestOtherVersions(t *testing.T) {
	base := fsx.NewMem()
	opts := tracedb.Options{FS: base, Dir: "data", WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways}, Scrub: fastScrub}
	db := open(t, opts)
	g := testkit.NewGenerator(1)
	want := fill(t, db, g, 2, 50)
	b := g.Batch(50)
	require.NoError(t, db.Append(t.Context(), b))
	merge(want, b)
	require.NoError(t, db.Close(t.Context()))
	json := func(b []byte) []byte {
		_, body, _ := bytes.Cut(b, []byte("\n"))
		body = bytes.Replace(body, []byte(`"version":1`), []byte(`"version":2,"blocks":"elsewhere","row_groups":7`), 1)
		return summed(body)
	}
	segment := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[8] = 2
		binary.LittleEndian.PutUint32(b[36:], crc32.Checksum(b[:36], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	for name, change := range map[string]func([]byte) []byte{
		"format.json":   func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) },
		"manifest.json": json,
		"meta":          json, // and its copy
		"wal":           segment,
		"no manifest":   json, // but meta.json of another version
	} {
		t.Run(name, func(t *testing.T) {
			again := opts
			fsys := base.CrashClone(rand.New(rand.NewPCG(1, 1)))
			again.FS = fsys
			before := map[string][]byte{}
			changed := 0
			for _, path := range files(t, fsys, "data") {
				data, err := fsx.ReadFile(fsys, path)
				require.NoError(t, err)
				before[path] = data
				if name == "no manifest" && filepath.Base(path) == "manifest.json" {
					require.NoError(t, fsys.Remove(path))
					continue
				}
				if !strings.Contains(path, name) && (name != "no manifest" || !strings.Contains(path, "meta")) {
					continue
				}
				require.NoError(t, fsx.WriteFileAtomic(fsys, path, change(data)))
				changed++
			}
			require.Positive(t, changed)
			find := func() map[string][]byte {
				out := map[string][]byte{}
				for _, path := range files(t, fsys, "data") {
					data, err := fsx.ReadFile(fsys, path)
					require.NoError(t, err)
					out[path] = data
				}
				return out
			}
			was := find()
			_, err := tracedb.Open(t.Context(), again)
			require.ErrorContains(t, err, "version 2")
			require.ErrorContains(t, err, "1")
			require.ErrorContains(t, err, "use the version that wrote it")
			require.ErrorContains(t, err, map[string]string{"meta": "meta.json", "no manifest": "meta.json", "wal": "data/wal/"}[name])
			require.Equal(t, was, find(), "nothing is changed")
			for path, data := range before {
				require.NoError(t, fsx.WriteFileAtomic(fsys, path, data))
			}
			got, _ := everything(t, open(t, again))
			storetest.RequireSameSpans(t, want, got)
		})
	}
}

// TestDamagedLog flips bits in the log: the store opens, counts and reports what is lost, and has the rest.
func TestDamagedLog(t *testing.T) {
	fsys := fsx.NewMem()
	db := open(t, tracedb.Options{FS: fsys})
	g := testkit.NewGenerator(2)
	var want store.Batch
	const batches, bad = 40, 20
	for i := range batches {
		b := g.Batch(300)
		require.NoError(t, db.Append(t.Context(), b))
		if i != bad {
			merge(&want, b)
		}
	}
	require.NoError(t, db.Close(t.Context()))
	files, err := fsys.ReadDir(filepath.Join("data", "wal"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	path := filepath.Join("data", "wal", files[0].Name)
	data, err := fsx.ReadFile(fsys, path)
	require.NoError(t, err)
	data[len(data)/2] ^= 0x10
	require.NoError(t, fsx.WriteFileAtomic(fsys, path, data))

	var corrupt []*store.CorruptionError
	var replayed tracedb.Replayed
	db = open(t, tracedb.Options{FS: fsys, Listener: &tracedb.Listener{
		Corrupt: func(e *store.CorruptionError) { corrupt = append(corrupt, e) }, Replayed: func(r tracedb.Replayed) { replayed = r },
	}})
	require.NotEmpty(t, corrupt)
	require.ErrorContains(t, corrupt[0], path)
	require.Positive(t, replayed.Lost)
	require.Positive(t, replayed.Damaged)
	require.Equal(t, uint64(len(corrupt)), db.Stats().Corruptions)
	got, _ := everything(t, db)
	require.Less(t, len(got.Spans), len(want.Spans)+300)
	require.Greater(t, len(got.Spans), len(want.Spans)*8/10, "only the records of the damaged page are lost")
	require.Equal(t, uint64(batches), replayed.Records+replayed.Lost)
}

// TestForeignRecords puts records into the log that no version of this program writes: damage is skipped, a record of
// a future kind is refused.
func TestForeignRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		payload []byte
		fails   bool
	}{
		"not OTLP":       {[]byte{1, 0xff, 0xff}, false},
		"short deletion": {[]byte{2, 1, 2, 3}, false},
		"no payload":     {[]byte{}, false},
		"future kind":    {[]byte{200, 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fsx.NewMem()
			log, err := wal.Open(fsys, filepath.Join("data", "wal"), wal.Options{})
			require.NoError(t, err)
			_, err = log.Append(t.Context(), tc.payload)
			require.NoError(t, err)
			require.NoError(t, log.Close())
			db, err := tracedb.Open(t.Context(), tracedb.Options{FS: fsys, Dir: "data"})
			if tc.fails {
				require.ErrorContains(t, err, "newer version")
				return
			}
			require.NoError(t, err)
			require.Equal(t, uint64(1), db.Stats().Corruptions)
			require.NoError(t, db.Close(t.Context()))
		})
	}
}

func TestOpenEndsWithContext(t *testing.T) {
	fsys := fsx.NewMem()
	db := open(t, tracedb.Options{FS: fsys})
	require.NoError(t, db.Append(t.Context(), testkit.NewGenerator(1).Batch(10)))
	require.NoError(t, db.Close(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := tracedb.Open(ctx, tracedb.Options{FS: fsys, Dir: "data"})
	require.ErrorIs(t, err, context.Canceled)
}

// TestDelete checks what a deletion covers: spans accepted before it, in views taken after it, also after a restart;
// not the spans that come later.
// TestDeleteSurvivesPowerCut cuts the power right after a deletion was answered, in each sync mode, with the trace in a
// block, in a frozen head and in the live one: it does not come back. If it cannot be made durable the answer says so.
func TestDeleteSurvivesPowerCut(t *testing.T) {
	for _, mode := range []tracedb.SyncMode{tracedb.SyncAlways, tracedb.SyncInterval, tracedb.SyncOff} {
		t.Run(string(mode), func(t *testing.T) {
			mem := fsx.NewMem()
			faulty := fsx.NewFaulty(mem)
			opts := tracedb.Options{FS: faulty, Dir: "data", PurgeAfter: time.Hour, WAL: tracedb.WALOptions{Sync: mode, SyncInterval: time.Hour}}
			db := open(t, opts)
			g := testkit.NewGenerator(3)
			var victims []spanid.TraceID
			add := func() {
				b := g.Batch(50)
				require.NoError(t, db.Append(t.Context(), b))
				victims = append(victims, b.Spans[0].TraceID, b.Spans[len(b.Spans)-1].TraceID)
			}
			add()
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
			resume := sync.OnceFunc(db.HoldFlush())
			defer resume()
			add()
			require.NoError(t, db.Cut())
			add()
			require.NoError(t, db.Sync())
			total := db.Stats().Spans

			broken := errors.New("broken for once")
			faulty.Inject(fsx.Fault{Op: fsx.OpSync, Path: "wal", Err: broken})
			_, err := db.DeleteTrace(t.Context(), victims[0])
			require.ErrorIs(t, err, broken)
			require.Equal(t, total, db.Stats().Spans)
			faulty.Clear()
			for i, id := range victims {
				n, err := db.DeleteTrace(t.Context(), id)
				require.NoError(t, err)
				require.Positive(t, n)
				total -= n
				for seed := range uint64(10) {
					again := opts
					again.FS = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(i))))
					other, err := tracedb.Open(t.Context(), again)
					require.NoError(t, err)
					for _, gone := range victims[:i+1] {
						_, err := readTrace(t, other, gone)
						require.ErrorIs(t, err, store.ErrNotFound)
					}
					require.Equal(t, total, other.Stats().Spans)
					require.NoError(t, other.Close(t.Context()))
				}
			}
		})
	}
}

// TestDeleteDuringWrite deletes a trace of a head, and one of blocks, while the head is being written as a block and while
// the blocks are being merged: what is written without knowing of it does not bring them back, nor does a restart.
func TestDeleteDuringWrite(t *testing.T) {
	for _, what := range []string{"head", "merge"} {
		t.Run(what, func(t *testing.T) {
			faulty := fsx.NewFaulty(fsx.NewMem())
			opts := tracedb.Options{
				FS: faulty, Dir: "data", PurgeAfter: time.Hour, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways},
				Compaction: tracedb.CompactionOptions{Off: true, MinBlocks: 2},
			}
			db := open(t, opts)
			g := testkit.NewGenerator(3)
			all := fill(t, db, g, 2, 100)
			if what == "head" {
				b := g.Batch(100)
				require.NoError(t, db.Append(t.Context(), b))
				merge(all, b)
			}
			victim := all.Spans[len(all.Spans)-1].TraceID
			want := pick(all, func(s *store.Span) bool { return s.TraceID != victim })
			var once sync.Once
			deleted := 0
			var err error
			faulty.Before(func(op fsx.Op, path string) {
				if op == fsx.OpSync && strings.HasSuffix(path, ".tmp/spans.parquet") {
					once.Do(func() { deleted, err = db.DeleteTrace(context.Background(), victim) })
				}
			})
			if what == "head" {
				require.NoError(t, db.Cut())
				require.NoError(t, db.Flush())
			} else {
				db.CompactionOn()
				require.NoError(t, db.Compact(t.Context()))
				require.Positive(t, db.Stats().Merges)
			}
			require.NoError(t, err)
			require.Equal(t, len(all.Spans)-len(want.Spans), deleted)
			for range 2 {
				got, _ := everything(t, db)
				storetest.RequireSameSpans(t, want, got)
				_, err = readTrace(t, db, victim)
				require.ErrorIs(t, err, store.ErrNotFound)
				require.NoError(t, db.Close(t.Context()))
				opts.Compaction.Off = true
				db = open(t, opts)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, Dir: "data", Cut: tracedb.CutOptions{Spans: 1000}}
	db := open(t, opts)
	g := testkit.NewGenerator(3)
	victim := spanid.TraceID{15: 0xee}
	secret := func(n byte) *store.Batch {
		return &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{{
			TraceID: victim, SpanID: spanid.SpanID{n}, Name: "pay", Attrs: []store.Attr{{Key: "card", Value: store.String("4111")}},
		}}}
	}
	for n := range byte(3) {
		require.NoError(t, db.Append(t.Context(), g.Batch(600)))
		require.NoError(t, db.Append(t.Context(), secret(n)))
		require.NoError(t, db.Append(t.Context(), g.Batch(600)))
	}
	before, err := db.View()
	require.NoError(t, err)
	defer before.Release()
	total := db.Stats().Spans
	n, err := db.DeleteTrace(t.Context(), victim)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = db.DeleteTrace(t.Context(), victim)
	require.NoError(t, err)
	require.Zero(t, n)
	tr, err := before.Trace(t.Context(), victim, 0)
	require.NoError(t, err)
	require.Len(t, tr.Spans, 3, "a view does not change")

	check := func(want int) {
		t.Helper()
		v, err := db.View()
		require.NoError(t, err)
		defer v.Release()
		require.Equal(t, total-3+want, db.Stats().Spans)
		found, _ := counts(t, db, &store.Predicate{Column: store.Column{Scope: store.ScopeSpan, Name: "card"}})
		require.Equal(t, want, found)
		offered := 0
		for _, p := range v.Parts() {
			infos, err := p.Attributes(t.Context())
			require.NoError(t, err)
			for _, a := range infos {
				if a.Column.Name == "card" {
					offered += a.Rows
				}
			}
		}
		require.Equal(t, want, offered, "deleted values are not offered for completion")
		_, err = v.Trace(t.Context(), victim, 0)
		if want == 0 {
			require.ErrorIs(t, err, store.ErrNotFound)
		} else {
			require.NoError(t, err)
		}
	}
	check(0)
	require.NoError(t, db.Close(t.Context()))
	db = open(t, opts)
	check(0)
	require.NoError(t, db.Append(t.Context(), secret(9)))
	check(1)
	require.NoError(t, db.Close(t.Context()))
	db = open(t, opts)
	check(1)
}

// TestTraceMerge checks what Trace adds to the rows of the parts: the better of two copies, and a limit (T-08, T-03).
func TestTraceMerge(t *testing.T) {
	db := open(t, tracedb.Options{})
	id := spanid.TraceID{1}
	span := func(n byte, attrs int) *store.Batch {
		s := store.Span{TraceID: id, SpanID: spanid.SpanID{n}, Name: "s"}
		for range attrs {
			s.Attrs = append(s.Attrs, store.Attr{Key: string(rune('a' + len(s.Attrs))), Value: store.Int(1)})
		}
		return &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{s}}
	}
	for _, attrs := range []int{2, 5, 3} {
		require.NoError(t, db.Append(t.Context(), span(1, attrs)))
		require.NoError(t, db.Cut())
	}
	require.NoError(t, db.Append(t.Context(), span(2, 1)))
	v, err := db.View()
	require.NoError(t, err)
	defer v.Release()
	require.Len(t, v.Parts(), 4)
	tr, err := v.Trace(t.Context(), id, 0)
	require.NoError(t, err)
	want := &store.Batch{}
	merge(want, span(1, 5))
	merge(want, span(2, 1))
	storetest.RequireSameSpans(t, want, &tr.Batch)
	tr, err = v.Trace(t.Context(), id, 350)
	require.NoError(t, err)
	require.Len(t, tr.Spans, 1)
	require.Contains(t, tr.Partial, "350 bytes")
}

// TestAllAtOnce appends, reads, cuts, deletes and drops at the same time; meant for -race. Afterwards the counts must
// add up.
func TestAllAtOnce(t *testing.T) {
	fsys := fsx.NewMem()
	opts := tracedb.Options{FS: fsys, Dir: "data", MemoryBytes: 3 << 20, MaintenanceInterval: 20 * time.Millisecond}
	db := open(t, opts)
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	loop := func(f func()) {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			g := testkit.NewGenerator(uint64(w))
			for range 8 {
				assert.NoError(t, db.Append(t.Context(), g.Batch(60)))
			}
		})
	}
	loop(func() {
		v, err := db.View()
		if !assert.NoError(t, err) {
			return
		}
		defer v.Release()
		n := v.Split().Len()
		for _, p := range v.Parts() {
			var b store.Batch
			assert.NoError(t, p.Spans(t.Context(), []uint32{uint32(p.Info().Rows - 1)}, &b))
			id := b.Spans[0].TraceID
			_, err := v.Trace(t.Context(), id, 0)
			assert.NoError(t, err)
			v.Split().Has(id)
		}
		assert.Equal(t, n, v.Split().Len(), "a view does not change")
	})
	loop(func() {
		assert.NoError(t, db.Cut())
		db.Stats()
	})
	loop(func() { assert.NoError(t, db.Rewrite(t.Context())) })
	loop(func() {
		_, ids := everything(t, db)
		if len(ids) > 0 {
			_, err := db.DeleteTrace(t.Context(), ids[0])
			assert.NoError(t, err)
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	st := db.Stats()
	require.Equal(t, st.AppendedSpans, uint64(st.Spans)+deletedAndDropped(t, db, opts))
	require.NoError(t, db.Flush())
	st = db.Stats()
	require.Zero(t, st.RetainedBytes)
	require.Equal(t, st.HeadBytes, st.Memory.Used, "every byte is accounted for")
}

// deletedAndDropped reopens the store, which must have the same spans, and returns how many of those appended are gone.
func deletedAndDropped(t *testing.T, db *tracedb.DB, opts tracedb.Options) uint64 {
	t.Helper()
	want, _ := everything(t, db)
	st := db.Stats()
	require.NoError(t, db.Close(t.Context()))
	opts.MemoryBytes = 0
	again := open(t, opts)
	got, _ := everything(t, again)
	storetest.RequireSameSpans(t, want, got)
	return st.AppendedSpans - uint64(len(want.Spans))
}

func TestCloseTwiceAndLate(t *testing.T) {
	db := open(t, tracedb.Options{})
	require.NoError(t, db.Append(t.Context(), testkit.NewGenerator(1).Batch(10)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Close(ctx); err != nil { // Either may be first.
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, db.Close(t.Context()))
	require.NoError(t, db.Close(t.Context()))
	require.ErrorIs(t, db.Append(t.Context(), testkit.NewGenerator(1).Batch(1)), store.ErrClosed)
}
