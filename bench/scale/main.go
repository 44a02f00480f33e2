// Command scale shows what a span costs as the store grows: it appends spans to a store in this process, merges blocks
// whenever merges are due, and prints at several sizes the CPU time per span of storing and of merging, the bytes per
// span, and the CPU time of reads. Everything is done one after the other, so that CPU time is that of the step
// and not of what happens to run beside it.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

func main() {
	spans := flag.Int("spans", 20_000_000, "spans to store")
	dir := flag.String("data", "", "data directory, kept; empty for a temporary one")
	svg := flag.String("svg", "", "file for a graph")
	flag.Parse()
	if err := run(*spans, *dir, *svg); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// cpu returns the CPU time of the process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	perRound  = 300_000 // about a head
	perBatch  = 1000
	perSecond = 10_000 // spans per second of the clock
)

// round is what one head is made of; it is used again and again with other ids and times.
type round struct {
	batches []*store.Batch
	spans   int
}

func generate() *round {
	g := testkit.NewGenerator(1)
	g.SetTime(time.Unix(0, 0))
	r := &round{}
	for r.spans < perRound {
		b := g.Batch(perBatch)
		r.batches = append(r.batches, b)
		r.spans += len(b.Spans)
	}
	last := r.batches[len(r.batches)-1]
	took := time.Duration(last.Spans[len(last.Spans)-1].StartNano)
	// To the rate of the clock.
	want := time.Duration(r.spans) * time.Second / perSecond
	for _, b := range r.batches {
		for i := range b.Spans {
			s := &b.Spans[i]
			at := uint64(float64(s.StartNano) / float64(took) * float64(want))
			s.StartNano, s.EndNano = at, at+s.DurationNano()
		}
	}
	return r
}

// move changes ids and times, so that the spans are others. It is its own inverse but for the times.
func (r *round) move(salt uint64, by time.Duration) {
	for _, b := range r.batches {
		for i := range b.Spans {
			s := &b.Spans[i]
			binary.LittleEndian.PutUint64(s.TraceID[:8], binary.LittleEndian.Uint64(s.TraceID[:8])^salt)
			binary.LittleEndian.PutUint64(s.SpanID[:], binary.LittleEndian.Uint64(s.SpanID[:])^salt)
			if !s.ParentID.IsZero() {
				binary.LittleEndian.PutUint64(s.ParentID[:], binary.LittleEndian.Uint64(s.ParentID[:])^salt)
			}
			s.StartNano += uint64(by) //nolint:gosec // not negative
			s.EndNano += uint64(by)   //nolint:gosec // not negative
			for j := range s.Events {
				s.Events[j].TimeNano += uint64(by) //nolint:gosec // not negative
			}
		}
	}
}

func run(total int, dir, svg string) error {
	if dir == "" {
		tmp, err := os.MkdirTemp("", "bramble-scale-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	ctx := context.Background()
	now := time.Date(2026, 3, 4, 1, 0, 0, 0, time.UTC)
	db, err := tracedb.Open(ctx, tracedb.Options{
		Dir: dir, MemoryBytes: 1 << 30, Clock: func() time.Time { return now }, MaintenanceInterval: 1000 * time.Hour,
	})
	if err != nil {
		return err
	}
	r := generate()
	s := scale{ctx: ctx, db: db, rng: rand.New(rand.NewPCG(1, 1))}
	fmt.Println("| spans | store µs | merge µs | B/span | blocks | trace by id µs, first / again | scan ns/span, first / again |")
	fmt.Println("|---|---|---|---|---|---|---|")
	r.move(0, time.Duration(now.UnixNano()))
	next := 1_000_000
	for salt := uint64(1); s.spans < total; salt++ {
		r.move(salt*0x9e3779b97f4a7c15, 0)
		if err := s.store(r); err != nil {
			return err
		}
		step := time.Duration(r.spans) * time.Second / perSecond
		r.move(salt*0x9e3779b97f4a7c15, step) // Back, and on in time.
		now = now.Add(step)
		if err := s.merge(); err != nil {
			return err
		}
		if s.spans >= next {
			if err := s.report(); err != nil {
				return err
			}
			next = max(next*2, 1)
		}
	}
	if err := s.report(); err != nil {
		return err
	}
	if svg != "" {
		if err := os.WriteFile(svg, graph(s.points), 0o600); err != nil {
			return err
		}
	}
	return db.Close(ctx)
}

// scale is a run.
type scale struct {
	ctx                    context.Context //nolint:containedctx // of the whole program
	db                     *tracedb.DB
	rng                    *rand.Rand
	spans, since           int
	storing, merging       time.Duration
	sinceStore, sinceMerge time.Duration
	ids                    []spanid.TraceID
	points                 []point
}

// point is a line of the table. Times are of CPU: µs a span, µs a trace, ns a span.
type point struct {
	spans                            float64 // millions
	store, merge                     float64
	byID, byIDAgain, scan, scanAgain float64
}

// store appends a round and waits until it is a block.
func (s *scale) store(r *round) error {
	begin := cpu()
	for _, b := range r.batches {
		if err := s.db.Append(s.ctx, b); err != nil {
			return err
		}
	}
	if err := s.db.Cut(); err != nil {
		return err
	}
	for s.db.Stats().Heads > 1 {
		time.Sleep(10 * time.Millisecond)
	}
	s.storing += cpu() - begin
	s.spans += r.spans
	for range 20 {
		b := r.batches[s.rng.IntN(len(r.batches))]
		s.ids = append(s.ids, b.Spans[s.rng.IntN(len(b.Spans))].TraceID)
	}
	return nil
}

func (s *scale) merge() error {
	begin := cpu()
	err := s.db.Compact(s.ctx)
	s.merging += cpu() - begin
	return err
}

func (s *scale) report() error {
	v, err := s.db.View()
	if err != nil {
		return err
	}
	defer v.Release()
	const reads = 64 // Different ones, whose granules are mostly not in the cache.
	s.rng.Shuffle(len(s.ids), func(a, b int) { s.ids[a], s.ids[b] = s.ids[b], s.ids[a] })
	byIDs := func() (time.Duration, error) {
		runtime.GC() // What was stored before is not what reads cost.
		begin := cpu()
		for _, id := range s.ids[:reads] {
			if _, err := v.Trace(s.ctx, id, 0); err != nil {
				return 0, err
			}
		}
		return (cpu() - begin) / reads, nil
	}
	var p point
	for _, to := range []*float64{&p.byID, &p.byIDAgain} {
		took, err := byIDs()
		if err != nil {
			return err
		}
		*to = us(took)
	}
	for _, to := range []*float64{&p.scan, &p.scanAgain} {
		took, err := s.scan(v)
		if err != nil {
			return err
		}
		*to = float64(took.Nanoseconds()) / float64(s.spans)
	}
	st := s.db.Stats()
	n := float64(s.spans - s.since)
	p.spans, p.store, p.merge = float64(s.spans)/1e6, us(s.storing-s.sinceStore)/n, us(s.merging)/float64(s.spans)
	s.points = append(s.points, p)
	fmt.Printf("| %.1f M | %.2f | %.2f (%.2f in all) | %.1f | %d | %.0f / %.0f | %.2f / %.2f |\n", p.spans, p.store, us(s.merging-s.sinceMerge)/n, p.merge,
		float64(st.BlockBytes)/float64(s.spans), st.Blocks, p.byID, p.byIDAgain, p.scan, p.scanAgain)
	s.since, s.sinceStore, s.sinceMerge = s.spans, s.storing, s.merging
	return nil
}

// scan looks at a column of all spans.
func (s *scale) scan(v store.View) (time.Duration, error) {
	runtime.GC()
	begin := cpu()
	p := &store.Predicate{
		Column: store.Column{Scope: store.ScopeSpan, Name: "http.response.status_code"}, Op: store.OpGe,
		Values: []store.Value{store.Int(500)},
	}
	rows, found := 0, 0
	for _, part := range v.Parts() {
		info := part.Info()
		rows += info.Rows
		for g := range info.Granules() {
			if !part.MayMatch(g, p) {
				continue
			}
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			if err := part.Filter(s.ctx, g, p, &sel); err != nil {
				return 0, err
			}
			found += sel.Count()
		}
	}
	took := cpu() - begin
	if rows != s.spans || found == 0 {
		return 0, fmt.Errorf("%d spans are stored and %d are there, %d match", s.spans, rows, found)
	}
	return took, nil
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
