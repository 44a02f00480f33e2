//go:build linux || darwin

package tracedb_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// longestRound bounds a round of BenchmarkInterference, which lasts as long as the merge that is due in it. Under full load
// merging waits for heads that are to be written again and again, and takes far longer than fullRound.
const (
	longestRound = 2 * time.Minute
	fullRound    = 10 * time.Second
)

// BenchmarkInterference shows how much merging slows down appends and queries. Rounds with merging on and off alternate, on
// copies of one store in which four blocks are due to be merged. A round with merging ends with the merge, or after ten seconds of
// full load, and the one after it is as long: "paced" is 20,000 spans and 40 queries a second, "full" as
// much as one appender and one client of queries get done on all cores. The figures are medians over the rounds of what a
// round with merging has for each of the round without that follows: of the middle and the mean of the latencies where the load is
// paced, of what took place in a second where it is not.
// (Ratios, because machines are noisy.)
func BenchmarkInterference(b *testing.B) {
	const blocks, perBlock = 4, 100_000
	base := b.TempDir()
	opts := tracedb.Options{Dir: base, MemoryBytes: 1 << 30, Compaction: tracedb.CompactionOptions{Off: true}}
	db := openReal(b, opts)
	batches, _ := workload(perBlock, 500)
	var ids []spanid.TraceID
	for n := range uint64(blocks) {
		for _, batch := range batches {
			renumber(batch, n^(n+1))
			require.NoError(b, db.Append(b.Context(), batch))
			ids = append(ids, batch.Spans[0].TraceID)
		}
		require.NoError(b, db.Cut())
		require.NoError(b, db.Flush())
	}
	require.NoError(b, db.Close(context.Background()))
	for _, pace := range []string{"paced", "full"} {
		b.Run(pace, func(b *testing.B) {
			l := &interference{b: b, base: base, opts: opts, batches: batches, ids: ids, paced: pace == "paced"}
			l.round(false, time.Second) // The first of all is slower.
			var without, with []served
			lasted := time.Duration(0)
			for range max(b.N, 1) {
				limit := longestRound
				if !l.paced {
					limit = fullRound
				}
				on := l.round(true, limit)
				with, without = append(with, on), append(without, l.round(false, on.lasted))
				lasted += on.lasted
			}
			ratio := func(of func(served) float64) float64 {
				var r []float64
				for i := range with {
					r = append(r, of(with[i])/of(without[i]))
				}
				slices.Sort(r)
				return (r[(len(r)-1)/2] + r[len(r)/2]) / 2
			}
			if l.paced {
				b.ReportMetric(ratio(func(s served) float64 { return middle(s.appends) }), "append-p50-ratio")
				b.ReportMetric(ratio(func(s served) float64 { return mean(s.appends) }), "append-mean-ratio")
				b.ReportMetric(ratio(func(s served) float64 { return middle(s.queries) }), "query-p50-ratio")
				b.ReportMetric(ratio(func(s served) float64 { return mean(s.queries) }), "query-mean-ratio")
			} else {
				b.ReportMetric(ratio(func(s served) float64 { return float64(len(s.appends)) }), "appends-ratio")
				b.ReportMetric(ratio(func(s served) float64 { return float64(len(s.queries)) }), "queries-ratio")
			}
			b.ReportMetric(lasted.Seconds()/float64(len(with)), "s/round")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// interference is the load of a benchmark.
type interference struct {
	b       *testing.B
	base    string
	opts    tracedb.Options
	batches []*store.Batch
	ids     []spanid.TraceID
	paced   bool
	salt    uint64
}

// served is what was done in a round: how long each append and each query took.
type served struct {
	appends, queries []time.Duration
	lasted           time.Duration
}

// round opens a copy of the store and puts load on it.
func (l *interference) round(merging bool, limit time.Duration) served {
	b := l.b
	dir, err := os.MkdirTemp(b.TempDir(), "round")
	require.NoError(b, err)
	require.NoError(b, os.CopyFS(dir, os.DirFS(l.base)))
	opts := l.opts
	opts.Dir, opts.Compaction.Off, opts.MaintenanceInterval = dir, !merging, 50*time.Millisecond
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	opts.Listener = &tracedb.Listener{BlockWritten: func(e tracedb.BlockWritten) {
		if e.Level > 0 {
			cancel()
		}
	}}
	db := openReal(b, opts)
	begin := time.Now()
	var s served
	var wg sync.WaitGroup
	l.salt++
	wg.Go(func() {
		s.appends = l.repeat(ctx, 500*time.Second/20_000, func(i int) error {
			batch := l.batches[i%len(l.batches)]
			renumber(batch, l.salt<<32|uint64(i))
			return db.Append(context.Background(), batch)
		})
	})
	wg.Go(func() {
		s.queries = l.repeat(ctx, time.Second/40, func(i int) error { return l.query(db, i) })
	})
	wg.Wait()
	s.lasted = time.Since(begin)
	require.False(b, merging && l.paced && s.lasted >= limit, "the merge did not end")
	require.NoError(b, db.Close(context.Background()))
	require.NoError(b, os.RemoveAll(dir))
	return s
}

// repeat does something again and again until the round is over, paced or not, and returns how long it took each time.
func (l *interference) repeat(ctx context.Context, every time.Duration, f func(i int) error) (took []time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		if l.paced {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return took
			}
		}
		if ctx.Err() != nil {
			return took
		}
		start := time.Now()
		if err := f(i); err != nil {
			l.b.Errorf("round %d: %v", l.salt, err)
			return took
		}
		took = append(took, time.Since(start))
	}
}

// query reads a trace and looks for errors in all blocks.
func (l *interference) query(db *tracedb.DB, i int) error {
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Release()
	ctx := context.Background()
	if _, err := v.Trace(ctx, l.ids[i*7919%len(l.ids)], 0); err != nil {
		return err
	}
	p := &store.Predicate{
		Column: store.Column{Scope: store.ScopeSpan, Name: "http.response.status_code"}, Op: store.OpGe, Values: []store.Value{store.Int(500)},
	}
	found := 0
	for _, part := range v.Parts() {
		info := part.Info()
		for g := range info.Granules() {
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			if err := part.Filter(ctx, g, p, &sel); err != nil {
				return err
			}
			found += sel.Count()
		}
	}
	if found == 0 {
		return errors.New("nothing was found")
	}
	return nil
}

func middle(d []time.Duration) float64 {
	if len(d) == 0 {
		return 0
	}
	s := slices.SortedFunc(slices.Values(d), cmp.Compare[time.Duration])
	return float64(s[len(s)/2])
}

func mean(d []time.Duration) float64 {
	sum := time.Duration(0)
	for _, x := range d {
		sum += x
	}
	return float64(sum) / float64(max(1, len(d)))
}
