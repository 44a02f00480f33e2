package tracedb_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

var update = flag.Bool("update", false, "write the golden directory of a new format version; existing ones are never replaced")

// goldenTime is when the golden directory was closed, by its clock.
var goldenTime = time.Date(2026, 3, 4, 13, 0, 0, 0, time.UTC)

func goldenOptions(dir string, now *clock) tracedb.Options {
	return tracedb.Options{
		FS: fsx.OS{}, Dir: dir, Clock: now.Now, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways},
		Retention: tracedb.Retention{Recent: time.Hour}, Compaction: tracedb.CompactionOptions{MinBlocks: 2},
		MaintenanceInterval: 1000 * time.Hour, PurgeAfter: 1000 * time.Hour,
		Scrub: tracedb.ScrubOptions{Interval: -1},
	}
}

// TestGoldenDirectory opens the data directory of each format version that was ever released, as an upgraded program
// finds it: blocks of several levels, overlays with erased, pinned and decided traces, decisions that outlived their blocks,
// and a log of batches, a deletion and a pin behind them. testdata/vN.txt is what must come out: the spans with what was decided, and
// those that come late for a dropped trace.
func TestGoldenDirectory(t *testing.T) {
	golden := filepath.Join("testdata", "v1")
	if *update {
		writeGoldenDirectory(t, golden)
	}
	want, err := os.ReadFile(golden + ".txt")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.CopyFS(dir, os.DirFS(golden)))
	now := &clock{}
	now.Set(goldenTime)
	db := open(t, goldenOptions(dir, now))
	st := db.Stats()
	require.Zero(t, st.Corruptions)
	require.Zero(t, st.Quarantined)
	require.Positive(t, st.Replayed.Records)
	require.Greater(t, len(levels(t, db)), 1, "blocks of more than one level")
	scrubbed, err := db.Scrub(t.Context())
	require.NoError(t, err)
	require.Zero(t, scrubbed.Damaged)
	require.Equal(t, string(want), goldenText(t, db))

	// It goes on from there: what it knows of decisions and pins holds.
	_, err = db.SetDecider(newKeeper(t))
	require.NoError(t, err)
	require.NoError(t, db.Append(t.Context(), testkit.NewGenerator(3).Batch(20)))
	require.NoError(t, db.Cut())
	require.NoError(t, db.Flush())
	now.Advance(26 * time.Hour)
	require.NoError(t, db.Compact(t.Context()))
	require.Zero(t, db.Stats().MergeFailures)
}

// goldenText lists what a store has: spans, by a sum of all that they are, and what is decided about their traces.
func goldenText(t *testing.T, db *tracedb.DB) string {
	t.Helper()
	all, ids := everything(t, db)
	var lines []string
	for i := range all.Spans {
		s := &all.Spans[i]
		lines = append(lines, fmt.Sprintf("span %s %s %x", s.TraceID, s.SpanID, sha256.Sum256([]byte(storetest.Canonical(all, i)))))
	}
	for _, id := range ids {
		d, ok, err := db.Decision(t.Context(), id)
		require.NoError(t, err)
		if ok {
			lines = append(lines, "decision "+id.String()+" keep="+map[bool]string{true: "yes", false: "no"}[d.Keep]+" policy="+d.Policy)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func writeGoldenDirectory(t *testing.T, dir string) {
	t.Helper()
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist, "a golden directory is never replaced")
	now := &clock{}
	now.Set(goldenTime.Add(-3 * time.Hour))
	db := open(t, goldenOptions(dir, now))
	_, err = db.SetDecider(newKeeper(t))
	require.NoError(t, err)
	g := testkit.NewGenerator(1)
	var all store.Batch
	add := func(n int, cut bool) *store.Batch {
		b := g.Batch(n)
		shift(b, now.Now())
		require.NoError(t, db.Append(t.Context(), b))
		merge(&all, b)
		if cut {
			require.NoError(t, db.Cut())
			require.NoError(t, db.Flush())
		}
		return b
	}
	drops := func(b *store.Batch) spanid.TraceID {
		i := slices.IndexFunc(b.Spans, func(s store.Span) bool { return !keeps(s.TraceID).Keep })
		require.GreaterOrEqual(t, i, 0)
		return b.Spans[i].TraceID
	}
	old := add(150, true)
	add(80, true)
	require.NoError(t, db.Pin(t.Context(), []spanid.TraceID{drops(old)}))
	now.Advance(2 * time.Hour)
	require.NoError(t, db.Compact(t.Context())) // They are decided about and merged; what is dropped is remembered.
	late := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1)}
	for _, b := range byTrace(&all) {
		s := b.Spans[0]
		late.Spans = append(late.Spans, store.Span{TraceID: s.TraceID, SpanID: spanid.SpanID{9}, Name: "late", StartNano: s.StartNano, EndNano: s.EndNano})
	}
	require.NoError(t, db.Append(t.Context(), late))
	recent := add(80, true)
	_, err = db.DeleteTrace(t.Context(), recent.Spans[0].TraceID) // in an overlay
	require.NoError(t, err)
	now.Advance(30 * time.Minute)
	last := add(60, false)
	_, err = db.DeleteTrace(t.Context(), last.Spans[0].TraceID) // in the log
	require.NoError(t, err)
	require.NoError(t, db.Pin(t.Context(), []spanid.TraceID{last.Spans[len(last.Spans)-1].TraceID}))
	text := goldenText(t, db)
	require.NoError(t, db.Close(t.Context()))
	require.NoError(t, os.Remove(filepath.Join(dir, "LOCK")))
	require.NoError(t, os.WriteFile(dir+".txt", []byte(text), 0o644)) //nolint:gosec // It is committed.
}
