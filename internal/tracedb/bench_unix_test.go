//go:build linux || darwin

package tracedb_test

import (
	"context"
	"encoding/binary"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// openReal opens a DB on real files.
func openReal(b *testing.B, opts tracedb.Options) *tracedb.DB {
	b.Helper()
	opts.FS = fsx.OS{}
	if opts.Dir == "" {
		opts.Dir = b.TempDir()
	}
	db, err := tracedb.Open(b.Context(), opts)
	require.NoError(b, err)
	return db
}

// cpu returns the processor time that the process has used, which other processes do not inflate.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func workload(n, batch int) (batches []*store.Batch, spans int) {
	g := testkit.NewGenerator(1)
	for spans < n {
		b := g.Batch(batch)
		batches = append(batches, b)
		spans += len(b.Spans)
	}
	return batches, spans
}

// BenchmarkAppend is the whole path: encode, log on real files, head. The number is ns/span of one appender, cpu-ns/span the processor time of all goroutines.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []tracedb.SyncMode{tracedb.SyncInterval, tracedb.SyncAlways} {
		b.Run(string(mode), func(b *testing.B) {
			batches, _ := workload(50_000, 500)
			db := openReal(b, tracedb.Options{WAL: tracedb.WALOptions{Sync: mode}})
			spans := 0
			b.ReportAllocs()
			start := cpu(b)
			for i := 0; b.Loop(); i++ {
				batch := batches[i%len(batches)]
				if err := db.Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				spans += len(batch.Spans)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
			b.ReportMetric(float64(cpu(b)-start)/float64(spans), "cpu-ns/span")
			require.NoError(b, db.Close(context.Background()))
		})
	}
}

// BenchmarkEngine is all that a span costs the engine, from Append to a block of level 1: log, head, four blocks of 300,000
// spans, and their merge. The number is cpu-us/span; those of storing and of merging are beside it. The spans are decoded from
// OTLP batch by batch, as a receiver does it, so that not a heap of rows is what the garbage collector is busy with; what
// decoding takes by itself is measured first and not in the figures.
func BenchmarkEngine(b *testing.B) {
	const blocks, perBlock = 4, 300_000
	g := testkit.NewGenerator(1)
	var encoded [][]byte
	perRound := 0
	for perRound < perBlock {
		batch := g.Batch(1000)
		body, err := otlpspan.AppendProto(nil, batch)
		require.NoError(b, err)
		encoded, perRound = append(encoded, body), perRound+len(batch.Spans)
	}
	var arena otlpspan.Arena
	var batch store.Batch
	each := func(salt uint64, f func(*store.Batch)) time.Duration {
		start := cpu(b)
		for _, body := range encoded {
			arena.Reset()
			batch.Reset()
			require.NoError(b, arena.ReadProto(body, &batch))
			renumber(&batch, salt)
			f(&batch)
		}
		return cpu(b) - start
	}
	decoding := each(1, func(*store.Batch) {})
	var storing, merging time.Duration
	spans := 0
	for round := range uint64(b.N) {
		db := openReal(b, tracedb.Options{MemoryBytes: 1 << 30, MaintenanceInterval: time.Hour})
		for n := range uint64(blocks) {
			storing += each(round*blocks+n+1, func(batch *store.Batch) { require.NoError(b, db.Append(b.Context(), batch)) }) - decoding
			start := cpu(b)
			require.NoError(b, db.Cut())
			require.NoError(b, db.Flush())
			storing += cpu(b) - start
			spans += perRound
		}
		start := cpu(b)
		require.NoError(b, db.Compact(b.Context()))
		merging += cpu(b) - start
		require.Equal(b, map[int]int{1: 1}, levels(b, db))
		require.NoError(b, db.Close(context.Background()))
	}
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(spans) }
	b.ReportMetric(us(storing+merging), "cpu-us/span")
	b.ReportMetric(us(storing), "store-us/span")
	b.ReportMetric(us(merging), "merge-us/span")
	b.ReportMetric(0, "ns/op")
}

// renumber makes other traces and spans of those of a batch.
func renumber(batch *store.Batch, salt uint64) {
	flip := func(id []byte) {
		binary.LittleEndian.PutUint64(id, binary.LittleEndian.Uint64(id)^salt*0x9e3779b97f4a7c15)
	}
	for i := range batch.Spans {
		s := &batch.Spans[i]
		flip(s.TraceID[:8])
		flip(s.SpanID[:])
		if !s.ParentID.IsZero() {
			flip(s.ParentID[:])
		}
	}
}

// BenchmarkClose closes a store that four appenders load as much as they can, while heads become blocks and blocks are
// merged. The number is the time until Close has returned; the slowest one counts.
func BenchmarkClose(b *testing.B) {
	batches, _ := workload(50_000, 500)
	slowest := time.Duration(0)
	for range b.N {
		db := openReal(b, tracedb.Options{Cut: tracedb.CutOptions{Spans: 50_000}, Compaction: tracedb.CompactionOptions{MinBlocks: 2, CPUPercentage: 100}})
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := n; ; i++ {
					if err := db.Append(b.Context(), batches[i%len(batches)]); err != nil {
						return // It is closed.
					}
				}
			})
		}
		for db.Stats().Blocks+int(db.Stats().Merges) < 4 {
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		require.NoError(b, db.Close(context.Background()))
		slowest = max(slowest, time.Since(start))
		wg.Wait()
	}
	b.ReportMetric(slowest.Seconds(), "s-slowest")
}

// BenchmarkReplay opens a store with a log of 100,000 spans. MB/s counts uncompressed record bytes.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	db := openReal(b, tracedb.Options{Dir: dir})
	batches, spans := workload(100_000, 500)
	for _, batch := range batches {
		require.NoError(b, db.Append(b.Context(), batch))
	}
	require.NoError(b, db.Close(b.Context()))
	start := cpu(b)
	for b.Loop() {
		db = openReal(b, tracedb.Options{Dir: dir})
		st := db.Stats()
		require.Equal(b, spans, st.Spans)
		b.SetBytes(st.Replayed.Bytes)
		b.ReportMetric(float64(st.WALBytes)/(1<<20)/st.Replayed.Duration.Seconds(), "walMiB/s")
		require.NoError(b, db.Close(b.Context()))
	}
	b.ReportMetric(float64(cpu(b)-start)/float64(b.N*spans), "cpu-ns/span")
}

// BenchmarkFilter evaluates a predicate over all parts of a view; ns/span.
func BenchmarkFilter(b *testing.B) {
	db := openReal(b, tracedb.Options{})
	batches, spans := workload(200_000, 500)
	for _, batch := range batches {
		require.NoError(b, db.Append(b.Context(), batch))
	}
	p := store.Predicate{
		Column: store.Column{Scope: store.ScopeSpan, Name: "http.response.status_code"}, Op: store.OpGe, Values: []store.Value{store.Int(500)},
	}
	for b.Loop() {
		v, err := db.View()
		require.NoError(b, err)
		for _, part := range v.Parts() {
			info := part.Info()
			var sel store.Bitmap
			for g := range info.Granules() {
				sel.Fill(info.GranuleLen(g))
				require.NoError(b, part.Filter(b.Context(), g, &p, &sel))
			}
		}
		v.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*spans), "ns/span")
	require.NoError(b, db.Close(context.Background()))
}
