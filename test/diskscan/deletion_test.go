package diskscan_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/test/diskscan"
	"github.com/bramble-tracing/bramble/test/harness"
)

// secrets makes what only the trace has that is deleted.
type secrets struct {
	rng     *rand.Rand
	needles diskscan.Needles
	// texts and numbers of them were made; the numbers of needles are those of firstNumber on.
	texts, numbers int
}

const firstNumber = 1 << 20

func (s *secrets) text() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	text := hex.EncodeToString(b)
	s.needles.Add(s.texts, text)
	s.texts++
	return text
}

// span returns the id of a span.
func (s *secrets) span() (id spanid.SpanID) {
	for i := range id {
		id[i] = 0x80 | byte(s.rng.Uint32())
	}
	s.needles.Add(s.texts, string(id[:]))
	s.texts++
	return id
}

// number returns one that is larger than any that other traces have, so that it bounds its granule's zone map.
func (s *secrets) number() int64 {
	n := int64(1<<62 + s.rng.Uint64()>>8)
	s.needles.AddNumber(firstNumber+s.numbers, uint64(n))
	s.numbers++
	return n
}

func (s *secrets) float() float64 {
	f := math.Float64frombits(0x6f<<56 | s.rng.Uint64()>>8)
	s.needles.AddDouble(firstNumber+s.numbers, f)
	s.numbers++
	return f
}

func (s *secrets) attrs() []store.Attr {
	return []store.Attr{
		{Key: s.text(), Value: store.String(s.text())},
		{Key: "known", Value: store.String(s.text())},
		{Key: "bytes", Value: store.Bytes(s.text())},
		{Key: "number", Value: store.Int(s.number())},
		{Key: "float", Value: store.Float(s.float())},
	}
}

// batch returns spans of other traces and one of the trace, with secrets in every place.
func (s *secrets) batch(id spanid.TraceID, others *testkit.Generator) *store.Batch {
	b := others.Batch(300)
	for i := range b.Spans {
		b.Spans[i].Attrs = append(b.Spans[i].Attrs, store.Attr{Key: "number", Value: store.Int(int64(i))}, store.Attr{Key: "float", Value: store.Float(float64(i))})
	}
	b.Resources = append(b.Resources, store.Resource{Attrs: s.attrs()})
	b.Scopes = append(b.Scopes, store.Scope{Name: s.text(), Version: s.text(), Attrs: s.attrs()})
	start := b.Spans[0].StartNano + uint64(s.rng.Uint32())
	b.Spans = append(b.Spans, store.Span{
		TraceID: id, SpanID: s.span(), Resource: int32(len(b.Resources) - 1), Scope: int32(len(b.Scopes) - 1), StartNano: start, EndNano: start + 1e9,
		Name: s.text(), TraceState: s.text(), StatusMessage: s.text(), Attrs: s.attrs(),
		Events: []store.Event{{Name: s.text(), Attrs: s.attrs()}}, Links: []store.Link{{TraceID: spanid.TraceID{2}, TraceState: s.text(), Attrs: s.attrs()}},
	})
	return b
}

// found counts the texts and the numbers that ways have found together.
func found(r *diskscan.Report, ways ...string) (texts, numbers int) {
	together := map[int]bool{}
	for _, way := range ways {
		for id := range r.Found[way] {
			together[id] = true
		}
	}
	for id := range together {
		if id >= firstNumber {
			numbers++
		} else {
			texts++
		}
	}
	return texts, numbers
}

// TestDeletedTraceIsGone deletes a trace that has secrets in every place: texts, numbers that bound zone maps, ids. Its spans
// are in the log, then in two blocks, and in the log again, and the scan finds them all: in the records of the log, in pages, in
// indexes, by the store's reader and by DuckDB. After the next rewrite none of its ways finds any, whether somebody asked for that
// rewrite, the blocks were merged, or nobody did anything.
func TestDeletedTraceIsGone(t *testing.T) {
	for _, how := range []string{"rewrite", "merge", "nothing"} {
		t.Run(how, func(t *testing.T) { testDeleted(t, how) })
	}
}

func testDeleted(t *testing.T, how string) {
	dir := t.TempDir()
	opts := tracedb.Options{Dir: dir, Compaction: tracedb.CompactionOptions{Off: true}, PurgeAfter: time.Hour, Scrub: tracedb.ScrubOptions{Interval: -1}}
	with := func(f func(db *tracedb.DB)) {
		t.Helper()
		db, err := tracedb.Open(t.Context(), opts)
		require.NoError(t, err)
		f(db)
		require.NoError(t, db.Close(t.Context()))
	}
	s := &secrets{rng: rand.New(rand.NewPCG(1, 2))}
	id := spanid.TraceID([]byte(s.text()[:16]))
	others := testkit.NewGenerator(3)
	// all checks that ways find every secret.
	all := func(r *diskscan.Report, ways ...string) {
		t.Helper()
		for _, way := range ways {
			texts, numbers := found(r, way)
			if way == diskscan.Frames {
				texts, _ = found(r, way, diskscan.Raw) // Ids are not compressed.
			}
			require.Equal(t, s.texts, texts, "%s: the control finds every text", way)
			if way != diskscan.Frames { // Numbers are packed there.
				require.Equal(t, s.numbers, numbers, "%s: the control finds every number", way)
			}
		}
	}
	first := s.batch(id, others)
	with(func(db *tracedb.DB) { require.NoError(t, db.Append(t.Context(), first)) })
	all(diskscan.Store(t, dir, &s.needles), diskscan.Log, diskscan.Reader)
	second := s.batch(id, others)
	with(func(db *tracedb.DB) {
		require.NoError(t, db.Rewrite(t.Context()))
		require.NoError(t, db.Append(t.Context(), second))
		require.NoError(t, db.Rewrite(t.Context()))
		require.Equal(t, 2, db.Stats().Blocks)
	})
	ways := []string{diskscan.Frames, diskscan.Reader}
	if diskscan.HasDuckDB(t) {
		ways = append(ways, diskscan.DuckDB)
	}
	r := diskscan.Store(t, dir, &s.needles)
	all(r, ways...)
	_, bounds := found(r, diskscan.Raw)
	require.Positive(t, bounds, "numbers in zone maps")

	third := s.batch(id, others)
	with(func(db *tracedb.DB) { require.NoError(t, db.Append(t.Context(), third)) })
	switch how {
	case "merge":
		opts.Compaction = tracedb.CompactionOptions{MinBlocks: 3}
	case "nothing":
		opts.PurgeAfter, opts.MaintenanceInterval, opts.Cut.Age = time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	}
	appended := len(first.Spans) + len(second.Spans) + len(third.Spans) - 3
	with(func(db *tracedb.DB) {
		n, err := db.DeleteTrace(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		switch how {
		case "rewrite":
			require.NoError(t, db.Rewrite(t.Context()))
		case "merge":
			require.NoError(t, db.Append(t.Context(), others.Batch(1)))
			appended = db.Stats().Spans
			require.NoError(t, db.Cut())
			harness.Poll(t, 2*time.Minute, "a third block", func() error {
				if st := db.Stats(); st.Blocks < 3 && st.Merges == 0 {
					return fmt.Errorf("there are %d", st.Blocks)
				}
				return nil
			})
			require.NoError(t, db.Compact(t.Context()))
			require.Positive(t, db.Stats().Merges)
		case "nothing":
			// What is in the log goes with the next head, which has a span at least.
			harness.Poll(t, 2*time.Minute, "the bytes to go", func() error {
				require.NoError(t, db.Append(t.Context(), others.Batch(1)))
				appended = db.Stats().Spans
				if found := diskscan.Live(t, dir, &s.needles).Found; len(found) > 0 {
					return fmt.Errorf("found: %v", found)
				}
				return nil
			})
		}
		require.Equal(t, appended, db.Stats().Spans)
	})
	r = diskscan.Store(t, dir, &s.needles)
	for way, places := range r.Found {
		require.Empty(t, places, "%s", way)
	}
	for _, way := range ways {
		require.Positive(t, r.Read[way], "%s has looked", way)
	}
}
