package tracedb_test

import (
	"context"
	"fmt"
	"slices"
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

// clock is a clock that stands still until it is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) Advance(d time.Duration) { c.Set(c.Now().Add(d)) }

// levels counts the blocks of each level.
func levels(tb testing.TB, db *tracedb.DB) map[int]int {
	tb.Helper()
	v, err := db.View()
	require.NoError(tb, err)
	defer v.Release()
	out := map[int]int{}
	for _, p := range v.Parts() {
		if info := p.Info(); info.Kind == store.KindBlock {
			out[info.Level]++
		}
	}
	return out
}

// pieces cuts a batch into n batches of consecutive spans, in the middle of traces.
func pieces(b *store.Batch, n int) []*store.Batch {
	var out []*store.Batch
	for chunk := range slices.Chunk(b.Spans, (len(b.Spans)+n-1)/n) {
		out = append(out, &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: slices.Clone(chunk)})
	}
	return out
}

// answers is what a store says to some questions.
func answers(tb testing.TB, db *tracedb.DB) map[string]string {
	tb.Helper()
	out := map[string]string{}
	attr := func(scope store.ColumnScope, name string) store.Column { return store.Column{Scope: scope, Name: name} }
	for _, p := range []store.Predicate{
		{Column: attr(store.ScopeResource, "service.name"), Op: store.OpExists},
		{Column: attr(store.ScopeResource, "service.name"), Op: store.OpEq, Values: []store.Value{store.String("cart")}},
		{Column: attr(store.ScopeSpan, "http.response.status_code"), Op: store.OpGe, Values: []store.Value{store.Int(500)}},
		{Column: attr(store.ScopeSpan, "url.path"), Op: store.OpExists},
		{Column: attr(store.ScopeEvent, "exception.type"), Op: store.OpExists},
		{Column: attr(store.ScopeUnscoped, "thread.id"), Op: store.OpNotExists},
		{Column: store.Intrinsic(store.SpanName), Op: store.OpExists},
		{Column: store.Intrinsic(store.SpanDuration), Op: store.OpGt, Values: []store.Value{store.Int(int64(time.Second))}},
		{Column: store.Intrinsic(store.SpanStatus), Op: store.OpEq, Values: []store.Value{store.Int(store.StatusError)}},
		{Column: store.Intrinsic(store.SpanParentID), Op: store.OpNotExists},
		{Column: store.Intrinsic(store.EventName), Op: store.OpExists},
		{Column: store.Intrinsic(store.LinkTraceID), Op: store.OpExists},
	} {
		n, values := counts(tb, db, &p)
		out[fmt.Sprintf("%v %s %v", p.Column, p.Op, p.Values)] = fmt.Sprint(n, len(values), values)
	}
	out["attributes"] = fmt.Sprint(attributes(tb, db))
	return out
}

// TestCompaction merges blocks of level 0 to 1 and of level 1 to 2, with traces that were cut by heads: each level
// answers as the one before, rows are copied without decoding, and the traces are in one part again.
func TestCompaction(t *testing.T) {
	fsys := fsx.NewMem()
	// The spans of the generator are of this time.
	now := &clock{}
	opts := tracedb.Options{FS: fsys, Dir: "data", Clock: now.Now, Compaction: tracedb.CompactionOptions{Off: true, MinBlocks: 2}, WAL: tracedb.WALOptions{Sync: tracedb.SyncOff}}
	all := testkit.NewGenerator(1).Batch(110_000)
	now.Set(time.Unix(0, int64(all.Spans[len(all.Spans)-1].EndNano)).UTC().Truncate(24 * time.Hour).Add(90 * time.Minute))
	shift(all, now.Now().Add(-2*time.Minute))
	db := open(t, opts)
	for _, b := range pieces(all, 2) {
		require.NoError(t, db.Append(t.Context(), b))
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	require.Equal(t, map[int]int{0: 2}, levels(t, db))
	check := func(want map[string]string) {
		t.Helper()
		require.Equal(t, want, answers(t, db))
		got, _ := everything(t, db)
		storetest.RequireSameSpans(t, all, got)
		checkSplit(t, db)
	}
	want := answers(t, db)
	v, err := db.View()
	require.NoError(t, err)
	require.NotZero(t, v.Split().Len(), "heads have cut traces")
	v.Release()

	db.CompactionOn()
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, map[int]int{1: 1}, levels(t, db))
	check(want)
	v, err = db.View()
	require.NoError(t, err)
	require.Zero(t, v.Split().Len(), "the traces are whole again")
	v.Release()
	st := db.Stats()
	require.Greater(t, st.CopiedSpans, st.MergedSpans/4, "rows are copied")
	require.Equal(t, uint64(len(all.Spans)), st.MergedSpans)

	// Another two, later on that day; then the day is over.
	more := testkit.NewGenerator(2).Batch(20_000)
	now.Advance(3 * time.Hour)
	shift(more, now.Now().Add(-2*time.Minute))
	for _, b := range pieces(more, 2) {
		require.NoError(t, db.Append(t.Context(), b))
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	merge(all, more)
	want = answers(t, db)
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, map[int]int{1: 2}, levels(t, db))
	check(want)
	now.Advance(24 * time.Hour)
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, map[int]int{2: 1}, levels(t, db))
	check(want)
	require.NoError(t, db.Flush()) // Removes what was replaced.
	list, err := fsys.ReadDir("data/blocks")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, db.Close(context.Background()))
	db = open(t, opts)
	check(want)
}

// shift moves spans in time so that the first begins then.
func shift(b *store.Batch, to time.Time) {
	first := ^uint64(0)
	for i := range b.Spans {
		first = min(first, b.Spans[i].StartNano)
	}
	d := uint64(to.UnixNano()) - first
	for i := range b.Spans {
		s := &b.Spans[i]
		s.StartNano, s.EndNano = s.StartNano+d, s.EndNano+d
		for j := range s.Events {
			s.Events[j].TimeNano += d
		}
	}
}
