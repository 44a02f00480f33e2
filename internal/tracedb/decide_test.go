package tracedb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// keeper decides by the trace id and by whether a span has an error, and remembers what it was asked.
type keeper struct {
	tb    testing.TB
	mu    sync.Mutex
	asked map[spanid.TraceID]int
	spans map[spanid.TraceID]int // that the view had when it was asked
	calls int
	err   error
}

func newKeeper(tb testing.TB) *keeper {
	return &keeper{tb: tb, asked: map[spanid.TraceID]int{}, spans: map[spanid.TraceID]int{}}
}

func keeps(id spanid.TraceID) store.Decision {
	if id.Hash()%8 < 2 {
		return store.Decision{Keep: true, Policy: "a quarter"}
	}
	if id.Hash()%8 < 4 {
		return store.Decision{Keep: true}
	}
	return store.Decision{Policy: "the rest"}
}

func (k *keeper) Decide(ctx context.Context, u *store.Undecided) ([]store.Decision, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if k.err != nil {
		return nil, k.err
	}
	parts := map[store.Part]bool{}
	for _, p := range u.View.Parts() {
		parts[p] = true
	}
	var out []store.Decision
	for i, id := range u.Traces {
		if i > 0 {
			require.Negative(k.tb, compare(u.Traces[i-1], id), "ascending, each once")
		}
		k.asked[id]++
		t, err := u.View.Trace(ctx, id, 0)
		if err != nil {
			return nil, err
		}
		k.spans[id] = len(t.Spans)
		holders := 0
		for _, p := range u.Parts {
			require.True(k.tb, parts[p], "a part of the view")
			rows, err := p.TraceRows(ctx, id, nil)
			if err != nil {
				return nil, err
			}
			if len(rows) > 0 {
				holders++
			}
			if !u.View.Split().Has(id) && len(rows) > 0 {
				require.Len(k.tb, rows, len(t.Spans), "all of its rows")
			}
		}
		require.Positive(k.tb, holders, "in one of the parts that leave")
		out = append(out, keeps(id))
	}
	return out, nil
}

func compare(a, b spanid.TraceID) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// sampledStore is a store with a clock, and what was appended.
type sampledStore struct {
	t    *testing.T
	fs   *fsx.Mem
	now  *clock
	opts tracedb.Options
	db   *tracedb.DB
	all  *store.Batch
	k    *keeper
}

func newSampledStore(t *testing.T) *sampledStore {
	s := &sampledStore{t: t, fs: fsx.NewMem(), now: &clock{}, all: &store.Batch{}, k: newKeeper(t)}
	s.now.Set(time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC))
	s.opts = tracedb.Options{
		FS: s.fs, Dir: "data", Clock: s.now.Now, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways},
		Retention: tracedb.Retention{Recent: time.Hour}, Compaction: tracedb.CompactionOptions{MinBlocks: 2},
		MaintenanceInterval: time.Hour, // The test does what there is to do.
	}
	s.db = open(t, s.opts)
	s.decide()
	return s
}

func (s *sampledStore) decide() {
	s.t.Helper()
	_, err := s.db.SetDecider(s.k)
	require.NoError(s.t, err)
}

// append stores spans that begin now, in a block of their own.
func (s *sampledStore) append(b *store.Batch) {
	s.t.Helper()
	shift(b, s.now.Now())
	require.NoError(s.t, s.db.Append(s.t.Context(), b))
	merge(s.all, b)
	require.NoError(s.t, s.db.Cut())
	require.NoError(s.t, s.db.Flush())
}

func (s *sampledStore) reopen(fs *fsx.Mem) {
	s.t.Helper()
	require.NoError(s.t, s.db.Close(s.t.Context()))
	s.fs, s.opts.FS = fs, fs
	s.db = open(s.t, s.opts)
	s.decide()
}

// want returns what is kept: the spans of kept traces, and of others those for which recent says so.
func (s *sampledStore) want(recent func(*store.Span) bool) *store.Batch {
	out := &store.Batch{Resources: s.all.Resources, Scopes: s.all.Scopes}
	for i := range s.all.Spans {
		if sp := s.all.Spans[i]; keeps(sp.TraceID).Keep || recent(&sp) {
			out.Spans = append(out.Spans, sp)
		}
	}
	return out
}

func (s *sampledStore) check(recent func(*store.Span) bool) {
	s.t.Helper()
	got, _ := everything(s.t, s.db)
	storetest.RequireSameSpans(s.t, s.want(recent), got)
	checkSplit(s.t, s.db)
}

func none(*store.Span) bool  { return false }
func every(*store.Span) bool { return true }

// columns counts the values of the two columns of decisions over all spans.
func columns(tb testing.TB, db *tracedb.DB) (decisions, policies map[store.Value]int) {
	tb.Helper()
	_, decisions = counts(tb, db, &store.Predicate{Column: store.Intrinsic(store.TraceDecision), Op: store.OpExists})
	_, policies = counts(tb, db, &store.Predicate{Column: store.Intrinsic(store.TracePolicy), Op: store.OpExists})
	return decisions, policies
}

// TestDecider lets blocks leave the recent window: before, every span is there; afterwards only those of kept traces, in
// a block of the last level, where the decision and the policy are still known.
func TestDecider(t *testing.T) {
	s := newSampledStore(t)
	g := testkit.NewGenerator(1)
	for _, b := range pieces(g.Batch(1200), 3) { // Traces are cut.
		s.append(b)
	}
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(every)
	require.Zero(t, s.k.calls, "nothing has left the window")
	decisions, policies := columns(t, s.db)
	require.Empty(t, decisions)
	require.Empty(t, policies)

	s.now.Advance(time.Hour + time.Minute)
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(none)
	_, ids := everything(t, &batchStore{s.all})
	require.Len(t, s.k.asked, len(ids))
	kept := map[string]int{}
	for _, sp := range s.want(none).Spans {
		kept[keeps(sp.TraceID).Policy]++
	}
	verify := func() {
		t.Helper()
		s.check(none)
		decisions, policies := columns(t, s.db)
		require.Equal(t, map[store.Value]int{store.String("kept"): kept[""] + kept["a quarter"]}, decisions)
		require.Equal(t, map[store.Value]int{store.String("a quarter"): kept["a quarter"]}, policies)
		for _, id := range ids {
			require.Equal(t, 1, s.k.asked[id], "decided once")
			d, ok, err := s.db.Decision(t.Context(), id)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, keeps(id), d)
		}
	}
	verify()
	s.reopen(s.fs)
	verify()
	require.Equal(t, map[int]int{1: 1}, levels(t, s.db))
	s.now.Advance(time.Hour) // What was dropped is written out, also from a single block.
	require.NoError(t, s.db.Compact(t.Context()))
	require.Equal(t, map[int]int{2: 1}, levels(t, s.db))
	verify()
	s.reopen(s.fs)
	verify()
	s.reopen(s.fs.CrashClone(rand.New(rand.NewPCG(1, 1))))
	verify()

	// Late spans of the same traces: visible for their window, then they follow, without another question.
	late := &store.Batch{Resources: s.all.Resources, Scopes: s.all.Scopes}
	for i, id := range ids {
		if i%3 == 0 {
			late.Spans = append(late.Spans, store.Span{TraceID: id, SpanID: spanid.SpanID{1, byte(i), byte(i >> 8)}, Name: "late", StartNano: 1, EndNano: 2})
		}
	}
	s.append(late)
	s.check(func(sp *store.Span) bool { return sp.Name == "late" })
	s.now.Advance(time.Hour + time.Minute)
	calls := s.k.calls
	require.NoError(t, s.db.Compact(t.Context()))
	require.Equal(t, calls, s.k.calls, "nothing was left to ask")
	s.check(none)
}

// batchStore shows a batch as a store, for everything.
type batchStore struct{ b *store.Batch }

func (s *batchStore) View() (store.View, error) { return s, nil }
func (s *batchStore) Parts() []store.Part       { return []store.Part{s} }
func (s *batchStore) Split() store.TraceSet     { return nil }
func (s *batchStore) Release()                  {}
func (s *batchStore) Info() store.PartInfo      { return store.PartInfo{Rows: len(s.b.Spans)} }
func (s *batchStore) MayMatch(int, *store.Predicate) bool {
	return true
}

func (s *batchStore) Trace(context.Context, spanid.TraceID, int64) (*store.Trace, error) {
	return nil, store.ErrUnsupported
}

func (s *batchStore) Filter(context.Context, int, *store.Predicate, *store.Bitmap) error {
	return store.ErrUnsupported
}

func (s *batchStore) Read(context.Context, int, store.Column, *store.Bitmap, *store.Vector) error {
	return store.ErrUnsupported
}

func (s *batchStore) TraceRows(context.Context, spanid.TraceID, []uint32) ([]uint32, error) {
	return nil, store.ErrUnsupported
}

func (s *batchStore) Attributes(context.Context) ([]store.AttributeInfo, error) {
	return nil, store.ErrUnsupported
}

func (s *batchStore) Spans(_ context.Context, _ []uint32, dst *store.Batch) error {
	merge(dst, s.b)
	return nil
}

// TestDeciderAcrossWindows has traces with a part in a block that leaves the window, one in a later block and one in the
// head: the decision sees all of them, and each part goes when its own time comes.
func TestDeciderAcrossWindows(t *testing.T) {
	s := newSampledStore(t)
	g := testkit.NewGenerator(2)
	first := pieces(g.Batch(600), 1)[0]
	var early, middle, recent store.Batch
	for i, sp := range first.Spans {
		b := []*store.Batch{&early, &middle, &recent}[i%3]
		b.Resources, b.Scopes = first.Resources, first.Scopes
		sp.StatusMessage = []string{"early", "middle", "recent"}[i%3]
		b.Spans = append(b.Spans, sp)
	}
	s.append(&early)
	s.now.Advance(30 * time.Minute)
	s.append(&middle)
	s.now.Advance(25 * time.Minute)
	shift(&recent, s.now.Now())
	require.NoError(t, s.db.Append(t.Context(), &recent))
	merge(s.all, &recent)
	s.now.Advance(10 * time.Minute)
	require.NoError(t, s.db.Compact(t.Context()))
	total := map[spanid.TraceID]int{}
	for i := range s.all.Spans {
		total[s.all.Spans[i].TraceID]++
	}
	askedEarly := map[spanid.TraceID]bool{}
	for i := range early.Spans {
		askedEarly[early.Spans[i].TraceID] = true
	}
	for id := range askedEarly {
		require.Equal(t, 1, s.k.asked[id])
		require.Equal(t, total[id], s.k.spans[id], "all fragments were there to be judged")
	}
	notEarly := func(sp *store.Span) bool { return sp.StatusMessage != "early" }
	s.check(notEarly)
	decisions, _ := columns(t, s.db)
	require.Positive(t, decisions[store.String("dropped")], "known of what is still in the window")

	require.NoError(t, s.db.Cut())
	require.NoError(t, s.db.Flush())
	s.check(notEarly)
	s.reopen(s.fs)
	s.check(notEarly)
	s.now.Advance(25 * time.Minute) // The middle leaves.
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(func(sp *store.Span) bool { return sp.StatusMessage == "recent" })
	s.now.Advance(time.Hour)
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(none)
	for id, n := range s.k.asked {
		require.Equal(t, 1, n, "trace %s is decided once", id)
	}
}

// TestDeciderFails keeps everything as long as nothing is decided, merges meanwhile, and asks again.
func TestDeciderFails(t *testing.T) {
	s := newSampledStore(t)
	s.append(testkit.NewGenerator(3).Batch(300))
	s.append(testkit.NewGenerator(4).Batch(300))
	s.k.err = errors.New("no opinion")
	s.now.Advance(2 * time.Hour)
	require.ErrorIs(t, s.db.Compact(t.Context()), s.k.err)
	s.check(every)
	s.k.err = nil
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(none)
	_, err := s.db.SetDecider(s.k)
	require.ErrorContains(t, err, "another decider")
}

// TestWithoutDecider keeps everything, also after another merge.
func TestWithoutDecider(t *testing.T) {
	s := newSampledStore(t)
	require.NoError(t, s.db.Close(t.Context()))
	s.db = open(t, s.opts)
	s.append(testkit.NewGenerator(3).Batch(300))
	s.append(testkit.NewGenerator(4).Batch(300))
	s.now.Advance(25 * time.Hour)
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(every)
	require.Equal(t, map[int]int{1: 1}, levels(t, s.db))
	require.NoError(t, s.db.Close(t.Context()))
	s.db = open(t, s.opts)
	cancel, err := s.db.SetDecider(s.k)
	require.NoError(t, err)
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(every)
	s.check(every)
	require.Zero(t, s.k.calls, "what was kept before there was a decider stays")
	cancel()
	cancel()
	_, err = s.db.SetDecider(s.k)
	require.NoError(t, err)
}

// TestPins keep traces that are to be dropped, across heads, blocks, restarts and merges, within a limit; deletion is
// stronger.
func TestPins(t *testing.T) {
	s := newSampledStore(t)
	s.opts.Compaction.Off = true
	b := testkit.NewGenerator(5).Batch(400)
	s.append(b)
	more := testkit.NewGenerator(6).Batch(100)
	shift(more, s.now.Now())
	require.NoError(t, s.db.Append(t.Context(), more))
	merge(s.all, more)
	var drop []spanid.TraceID
	_, ids := everything(t, &batchStore{s.all})
	for _, id := range ids {
		if !keeps(id).Keep {
			drop = append(drop, id)
		}
	}
	inHead := func() spanid.TraceID {
		for _, sp := range more.Spans {
			if !keeps(sp.TraceID).Keep {
				return sp.TraceID
			}
		}
		return spanid.TraceID{}
	}()
	require.NotZero(t, inHead)
	pinned := map[spanid.TraceID]bool{inHead: true, drop[0]: true, drop[1]: true}
	require.NoError(t, s.db.Pin(t.Context(), []spanid.TraceID{inHead, drop[0], drop[1], {1, 2, 3}}))
	s.reopen(s.fs.CrashClone(rand.New(rand.NewPCG(2, 2))))
	require.NoError(t, s.db.Cut())
	require.NoError(t, s.db.Flush())
	s.reopen(s.fs)
	isPinned := func(sp *store.Span) bool { return pinned[sp.TraceID] }
	s.now.Advance(61 * time.Minute)
	require.NoError(t, s.db.Compact(t.Context()))
	s.check(isPinned)

	// A dropped trace can be pinned as long as its bytes are there.
	require.NoError(t, s.db.Pin(t.Context(), []spanid.TraceID{drop[3]}))
	pinned[drop[3]] = true
	s.check(isPinned)
	s.db.CompactionOn()
	s.now.Advance(2 * time.Hour)
	require.NoError(t, s.db.Compact(t.Context()))
	require.Equal(t, map[int]int{1: 1}, levels(t, s.db))
	s.check(isPinned)
	s.reopen(s.fs)
	s.check(isPinned)
	d, ok, err := s.db.Decision(t.Context(), drop[0])
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, keeps(drop[0]), d, "it was dropped, and is pinned")

	n, err := s.db.DeleteTrace(t.Context(), drop[0])
	require.NoError(t, err)
	require.Positive(t, n)
	s.all = without(s.all, drop[0])
	s.check(isPinned)
	require.NoError(t, s.db.Rewrite(t.Context()))
	s.check(isPinned)
}

func without(b *store.Batch, id spanid.TraceID) *store.Batch {
	out := &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	for _, sp := range b.Spans {
		if sp.TraceID != id {
			out.Spans = append(out.Spans, sp)
		}
	}
	return out
}

// TestPinLimit refuses pins beyond the limit as a whole.
func TestPinLimit(t *testing.T) {
	s := newSampledStore(t)
	require.NoError(t, s.db.Close(t.Context()))
	s.opts.Retention.PinMaxBytes = 3000
	s.db = open(t, s.opts)
	s.append(testkit.NewGenerator(7).Batch(2000))
	_, ids := everything(t, &batchStore{s.all})
	require.NoError(t, s.db.Pin(t.Context(), ids[:1]))
	err := s.db.Pin(t.Context(), ids)
	require.ErrorIs(t, err, store.ErrFull)
	require.ErrorContains(t, err, "pin_max_mib")
	require.NoError(t, s.db.Pin(t.Context(), ids[:1]), "it is pinned already")
}
