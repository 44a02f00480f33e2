package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	appenders    = 4
	readers      = 4
	batchSpans   = 9
	batchesEach  = 60
	batchesFull  = 2000
	readsAtLeast = 10
)

// testConcurrent appends from several goroutines while others read. Each batch is one trace, so that a reader can tell
// whether it sees a part of a batch. Run it with -race.
func testConcurrent(t *testing.T, s store.Store) {
	batches := batchesEach
	if full() {
		batches = batchesFull
	}
	var stored [appenders]atomic.Int64 // Batches of each appender whose Append has returned.
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	errs := make(chan error, appenders+readers)
	for a := range appenders {
		writing.Go(func() {
			for n := range batches {
				if err := s.Append(t.Context(), concurrentBatch(a, n)); err != nil {
					errs <- fmt.Errorf("append: %w", err)
					return
				}
				stored[a].Store(int64(n + 1))
			}
		})
	}
	for r := range readers {
		reading.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 3)) //nolint:gosec // Not for secrets.
			for n := 0; ; n++ {
				select {
				case <-done:
					if n >= readsAtLeast {
						return
					}
				default:
				}
				if err := readOnce(t.Context(), s, &stored, rng, batches); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	select {
	case err := <-errs:
		require.NoError(t, err)
	default:
	}
	require.Len(t, everything(t, view(t, s)).Spans, appenders*batches*batchSpans)
}

func concurrentID(appender, n int) (id spanid.TraceID) {
	binary.BigEndian.PutUint64(id[:8], uint64(appender+1)) //nolint:gosec // Small.
	binary.BigEndian.PutUint64(id[8:], uint64(n+1))        //nolint:gosec // Small.
	return id
}

func concurrentBatch(appender, n int) *store.Batch {
	b := &store.Batch{
		Resources: []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String(fmt.Sprint("s", n%7))}}}},
		Scopes:    []store.Scope{{Name: "scope"}},
	}
	for i := range batchSpans {
		b.Spans = append(b.Spans, store.Span{
			TraceID: concurrentID(appender, n), SpanID: spanid.SpanID{7: byte(i + 1)}, Name: fmt.Sprint("n", i),
			StartNano: 1_767_323_045_000_000_000 + uint64(n), EndNano: 1_767_323_046_000_000_000, //nolint:gosec // Small.
			Attrs: []store.Attr{
				{Key: "appender", Value: store.Int(int64(appender))},
				{Key: fmt.Sprint("key", n%50), Value: store.String(fmt.Sprint("value", n))},
			},
		})
	}
	return b
}

// readOnce takes a view and checks that batches are whole, that all that was stored before is there, and that a filter
// on a part agrees with its spans.
func readOnce(ctx context.Context, s store.Store, stored *[appenders]atomic.Int64, rng *rand.Rand, batches int) error {
	var before [appenders]int64
	for a := range before {
		before[a] = stored[a].Load()
	}
	v, err := s.View()
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	defer v.Release()
	spans := map[spanid.TraceID]int{}
	for _, p := range v.Parts() {
		if err := readPart(ctx, p, spans, rng.IntN(appenders)); err != nil {
			return err
		}
	}
	for a := range before {
		for n := range batches {
			id := concurrentID(a, n)
			if have := spans[id]; have != batchSpans && (have != 0 || int64(n) < before[a]) {
				return fmt.Errorf("batch %d of appender %d: %d of %d spans are visible; %d batches were stored before", n, a, have, batchSpans, before[a])
			}
		}
		if n := before[a]; n > 0 {
			tr, err := v.Trace(ctx, concurrentID(a, rng.IntN(int(n))), 0)
			if err != nil {
				return fmt.Errorf("trace: %w", err)
			}
			if len(tr.Spans) != batchSpans {
				return fmt.Errorf("trace has %d of %d spans", len(tr.Spans), batchSpans)
			}
		}
	}
	return nil
}

func readPart(ctx context.Context, p store.Part, spans map[spanid.TraceID]int, appender int) error {
	info := p.Info()
	b := &store.Batch{}
	if err := p.Spans(ctx, allRows(info.Rows), b); err != nil {
		return fmt.Errorf("spans: %w", err)
	}
	for i := range b.Spans {
		spans[b.Spans[i].TraceID]++
	}
	column := store.Column{Scope: store.ScopeSpan, Name: "appender"}
	pred := &store.Predicate{Column: column, Op: store.OpEq, Values: []store.Value{store.Int(int64(appender))}}
	for granule := range info.Granules() {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(granule))
		if err := p.Filter(ctx, granule, pred, &sel); err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		var vec store.Vector
		var all store.Bitmap
		all.Fill(info.GranuleLen(granule))
		if err := p.Read(ctx, granule, column, &all, &vec); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		for i := range info.GranuleLen(granule) {
			s := &b.Spans[granule*store.GranuleRows+i]
			want := store.Int(int64(s.TraceID[7]) - 1)
			if vec.At(i) != want || sel.Has(i) != (want.Int() == int64(appender)) {
				return fmt.Errorf("row %d: column holds %v, filter says %v, the span %v", i, vec.At(i), sel.Has(i), want)
			}
		}
	}
	return nil
}
