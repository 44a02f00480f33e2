package block

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// benchBlock writes a block of the reference workload to the disk.
func benchBlock(b *testing.B, n int) (dir string, batch *store.Batch) {
	b.Helper()
	dir = b.TempDir()
	require.NoError(b, os.Mkdir(filepath.Join(dir, "blocks"), 0o755))
	batch = workload(n)
	w, err := NewWriter(fsx.OS{}, filepath.Join(dir, "blocks"), WriterOptions{ID: "x"})
	require.NoError(b, err)
	require.NoError(b, w.Append(b.Context(), batch))
	_, err = w.Finish(b.Context())
	require.NoError(b, err)
	return filepath.Join(dir, "blocks"), batch
}

func BenchmarkFilter(b *testing.B) {
	dir, batch := benchBlock(b, 300_000)
	span := func(key string) store.Column { return store.Column{Scope: store.ScopeSpan, Name: key} }
	eq := func(c store.Column, v store.Value) *store.Predicate {
		return &store.Predicate{Column: c, Op: store.OpEq, Values: []store.Value{v}}
	}
	predicates := map[string]*store.Predicate{
		"status_code=500": eq(span("http.response.status_code"), store.Int(500)),
		"route":           eq(span("http.route"), store.String("/api/cart")),
		"service":         eq(store.Column{Scope: store.ScopeResource, Name: "service.name"}, store.String("cart")),
		"duration>1s":     {Column: store.Intrinsic(store.SpanDuration), Op: store.OpGt, Values: []store.Value{store.Int(1e9)}},
		"url":             eq(span("url.full"), store.String("nothing")),
	}
	for _, cold := range []bool{true, false} {
		for name, p := range predicates {
			b.Run(fmt.Sprintf("%s/cold=%t", name, cold), func(b *testing.B) {
				cache := NewLRU(256 << 20)
				r, err := NewReader(fsx.OS{}, cache, 1)
				require.NoError(b, err)
				defer r.Close()
				blk, err := r.Open(filepath.Join(dir, "x"))
				require.NoError(b, err)
				info := blk.Info()
				for b.Loop() {
					if cold { // footers, dictionaries and pages are read again
						cache.DropBlock(blk.id)
					}
					for g := range info.Granules() {
						var sel store.Bitmap
						sel.Fill(info.GranuleLen(g))
						if !blk.MayMatch(g, p) {
							continue
						}
						if err := blk.Filter(b.Context(), g, p, &sel); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.Spans)), "ns/span")
				require.NoError(b, blk.Release())
			})
		}
	}
}

// BenchmarkTrace reads another trace each time: of a block of which nothing but dictionaries is in the cache, by one goroutine
// and by two, and of one that is there as a whole.
func BenchmarkTrace(b *testing.B) {
	dir, batch := benchBlock(b, 300_000)
	var ids []spanid.TraceID // All that is left of the spans, so that the collector has as little to go through as in a server.
	for i := 0; i < len(batch.Spans); i += 97 {
		ids = append(ids, batch.Spans[i].TraceID)
	}
	batch = nil
	for _, bc := range []struct {
		name        string
		concurrency int
		whole       bool
	}{{"picked", 1, false}, {"picked by two", 2, false}, {"cached", 1, true}} {
		b.Run(bc.name, func(b *testing.B) {
			r, err := NewReader(fsx.OS{}, NewLRU(512<<20), bc.concurrency)
			require.NoError(b, err)
			defer r.Close()
			blk, err := r.Open(filepath.Join(dir, "x"))
			require.NoError(b, err)
			i := 0
			read := func() {
				i = (i + 1031) % len(ids)
				rows, err := blk.TraceRows(b.Context(), ids[i], nil)
				if err != nil || len(rows) == 0 {
					b.Fatal(err)
				}
				var out store.Batch
				if err := blk.Spans(b.Context(), rows, &out); err != nil {
					b.Fatal(err)
				}
				if !bc.whole {
					r.picks.Add(soon) // As if other granules had been read.
				}
			}
			for range 200 {
				read()
			}
			cpu := cpuTime()
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/trace")
			require.NoError(b, blk.Release())
		})
	}
}

// BenchmarkReadAll reads all spans back, as compaction does.
func BenchmarkReadAll(b *testing.B) {
	dir, batch := benchBlock(b, 300_000)
	r, err := NewReader(fsx.OS{}, NewLRU(64<<20), 1)
	require.NoError(b, err)
	defer r.Close()
	blk, err := r.Open(filepath.Join(dir, "x"))
	require.NoError(b, err)
	rows := make([]uint32, 0, store.GranuleRows)
	cpu := cpuTime()
	for b.Loop() {
		for from := 0; from < len(batch.Spans); from += store.GranuleRows {
			rows = rows[:0]
			for i := from; i < min(from+store.GranuleRows, len(batch.Spans)); i++ {
				rows = append(rows, uint32(i))
			}
			var out store.Batch
			if err := blk.Spans(b.Context(), rows, &out); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N)/float64(len(batch.Spans)), "cpu-ns/span")
	require.NoError(b, blk.Release())
}

func BenchmarkOpen(b *testing.B) {
	dir, _ := benchBlock(b, 100_000)
	r, err := NewReader(fsx.OS{}, NewLRU(64<<20), 1)
	require.NoError(b, err)
	defer r.Close()
	for b.Loop() {
		blk, err := r.Open(filepath.Join(dir, "x"))
		if err != nil {
			b.Fatal(err)
		}
		if err := blk.Release(); err != nil {
			b.Fatal(err)
		}
	}
}
