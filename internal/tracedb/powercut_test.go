package tracedb_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
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

// synced names every kind of thing that the store syncs, by its path. A sync of anything else fails the test: it has to be
// named here, and so cut.
var synced = []struct {
	kind string
	dir  bool
	path *regexp.Regexp
}{
	{"the parent of the data directory", true, regexp.MustCompile(`^\.$`)},
	{"the data directory", true, regexp.MustCompile(`^data$`)},
	{"the format", false, regexp.MustCompile(`^data/format\.json\.tmp$`)},
	{"a segment of the log", false, regexp.MustCompile(`^data/wal/\d{8}(\.tmp)?$`)},
	{"the directory of the log", true, regexp.MustCompile(`^data/wal$`)},
	{"the tables of a block", false, regexp.MustCompile(`^data/blocks/\w+\.tmp/(spans|resources|events|links)\.parquet$`)},
	{"the indexes of a block", false, regexp.MustCompile(`^data/blocks/\w+\.tmp/(traces|attrs|counts)\.idx$`)},
	{"the meta of a block", false, regexp.MustCompile(`^data/blocks/\w+\.tmp/meta(\.copy)?\.json$`)},
	{"an unfinished block", true, regexp.MustCompile(`^data/blocks/\w+\.tmp$`)},
	{"the directory of blocks", true, regexp.MustCompile(`^data/blocks$`)},
	{"an overlay", false, regexp.MustCompile(`^data/blocks/\w+/overlay-\w+\.tmp$`)},
	{"a block with an overlay", true, regexp.MustCompile(`^data/blocks/[0-9A-Z]+$`)},
	{"decisions", false, regexp.MustCompile(`^data/decisions/overlay-\w+\.tmp$`)},
	{"the directory of decisions", true, regexp.MustCompile(`^data/decisions$`)},
	{"the manifest", false, regexp.MustCompile(`^data/manifest\.json\.tmp$`)},
	{"the state of the scrub", false, regexp.MustCompile(`^data/scrub\.json\.tmp$`)},
	{"the reason of a quarantine", false, regexp.MustCompile(`^data/blocks/\w+/reason\.txt\.tmp$`)},
	{"the quarantine", true, regexp.MustCompile(`^data/quarantine$`)},
	{"a meta that is put back", false, regexp.MustCompile(`^data/blocks/[0-9A-Z]+/meta(\.copy)?\.json\.tmp$`)},
}

func syncKind(op fsx.Op, path string) string {
	for _, s := range synced {
		if s.dir == (op == fsx.OpSyncDir) && s.path.MatchString(filepath.ToSlash(filepath.Clean(path))) {
			return s.kind
		}
	}
	return fmt.Sprintf("%s of %s, which is not in the list", op, path)
}

// outlook is what may be found after a power cut at some moment of a step: the spans of must, and of each group of may
// all or none.
type outlook struct {
	step string
	must *store.Batch
	may  []*store.Batch
}

// powerCut is a disk as it could be found, at which sync, and what may be found on it.
type powerCut struct {
	kind, where string
	at          time.Time
	fs          *fsx.Mem
	outlook     outlook
}

// cutter clones a file system at every sync: before it, when nothing of it has happened, and at the next operation of
// any kind, when it has just returned.
type cutter struct {
	mem *fsx.Mem
	now *clock

	mu      sync.Mutex // Goroutines of the store call the hook.
	rng     *rand.Rand
	clones  int  // of one moment; 0 for one of the two moments of a sync, which of them is up to rng
	skip    bool // the moment after the sync that has just begun
	outlook outlook
	last    string // the kind of sync that has just begun, empty for another operation
	lastAt  string
	cuts    []powerCut
}

func (c *cutter) before(op fsx.Op, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended()
	if op == fsx.OpSync || op == fsx.OpSyncDir {
		c.last, c.lastAt = syncKind(op, path), fmt.Sprintf("%s of %s", op, path)
		c.skip = c.clones == 0 && c.rng.IntN(2) == 0
		if c.clones > 0 || c.skip {
			c.clone("before")
		}
	}
}

// ended is called when the last operation is over, with mu held.
func (c *cutter) ended() {
	if c.last != "" && !c.skip {
		c.clone("after")
	}
	c.last = ""
}

// clone is called with mu held.
func (c *cutter) clone(when string) {
	for range max(1, c.clones) {
		c.cuts = append(c.cuts, powerCut{c.last, when + " " + c.lastAt, c.now.Now(), c.mem.CrashClone(c.rng), c.outlook})
	}
}

// expect says what a cut from now on may leave.
func (c *cutter) expect(step string, must *store.Batch, may ...*store.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended() // It belongs to the step that ends here.
	c.outlook = outlook{step, must, may}
}

// pick returns the spans for which yes holds.
func pick(b *store.Batch, yes func(*store.Span) bool) *store.Batch {
	out := &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	for i := range b.Spans {
		if yes(&b.Spans[i]) {
			out.Spans = append(out.Spans, b.Spans[i])
		}
	}
	return out
}

// byTrace divides spans into those of each trace.
func byTrace(b *store.Batch) []*store.Batch {
	at := map[spanid.TraceID]*store.Batch{}
	var out []*store.Batch
	for i := range b.Spans {
		id := b.Spans[i].TraceID
		if at[id] == nil {
			at[id] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
			out = append(out, at[id])
		}
		at[id].Spans = append(at[id].Spans, b.Spans[i])
	}
	return out
}

// TestPowerCutAtEverySync lives through all that makes a store write (a first start, appends over several segments of the log,
// blocks, deletions, pins, a scrub with repair and quarantine, decisions about traces, merges, rewrites, retention, a
// restart) and cuts the power right before or right after (BRAMBLE_FULL: both, in twelve ways) every single fsync of a file
// and of a directory. What is left is opened: everything acknowledged is there, what was under way is there as a whole or not at all, and the store
// goes on.
func TestPowerCutAtEverySync(t *testing.T) {
	mem := fsx.NewMem()
	faulty := fsx.NewFaulty(mem)
	now := &clock{}
	now.Set(time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC))
	c := &cutter{mem: mem, now: now, rng: rand.New(rand.NewPCG(5, 5))}
	if full() {
		c.clones = 12
	}
	opts := tracedb.Options{
		FS: faulty, Dir: "data", Clock: now.Now, WAL: tracedb.WALOptions{Sync: tracedb.SyncAlways, SegmentBytes: 16 << 10},
		Retention: tracedb.Retention{Recent: time.Hour, MaxAge: 72 * time.Hour}, Compaction: tracedb.CompactionOptions{MinBlocks: 2},
		MaintenanceInterval: 1000 * time.Hour, PurgeAfter: 500 * time.Hour, Scrub: fastScrub, // The test does what there is to do.
	}
	ctx := t.Context()
	all := &store.Batch{}
	c.expect("open", &store.Batch{})
	faulty.Before(c.before)
	db := open(t, opts)
	_, err := db.SetDecider(newKeeper(t))
	require.NoError(t, err)

	gone, pinned := map[spanid.TraceID]bool{}, map[spanid.TraceID]bool{}
	left := func() *store.Batch { return pick(all, func(s *store.Span) bool { return !gone[s.TraceID] }) }
	g := testkit.NewGenerator(11)
	appended := func(n int) {
		b := g.Batch(n)
		shift(b, now.Now())
		c.expect("append", left(), b)
		require.NoError(t, db.Append(ctx, b))
		merge(all, b)
		c.expect("write a block", left())
	}
	block := func() {
		require.NoError(t, db.Cut())
		require.NoError(t, db.Flush())
	}
	erase := func(id spanid.TraceID) {
		of := func(s *store.Span) bool { return s.TraceID == id }
		victim := pick(all, of)
		gone[id] = true
		c.expect("delete", left(), victim)
		_, err := db.DeleteTrace(ctx, id)
		require.NoError(t, err)
		c.expect("deleted", left())
	}
	for range 3 {
		appended(30)
		appended(30)
		block()
	}
	appended(20)
	erase(all.Spans[0].TraceID)                // in a block
	erase(all.Spans[len(all.Spans)-1].TraceID) // in the head
	for i := 50; len(pinned) < 2; i += 17 {
		id := all.Spans[i].TraceID
		if gone[id] || keeps(id).Keep || pinned[id] {
			continue
		}
		require.NoError(t, db.Pin(ctx, []spanid.TraceID{id}))
		pinned[id] = true
	}
	block()

	// Damage: an index is made again, a table costs its block. Cuts find the block damaged, and what was in it is no loss
	// of theirs.
	c.expect("repair", left())
	dirs, err := mem.ReadDir("data/blocks")
	require.NoError(t, err)
	damage(t, mem, filepath.Join("data", "blocks", dirs[0].Name, "attrs.idx"), "flipped")
	_, err = db.Scrub(ctx)
	require.NoError(t, err)
	require.NoError(t, db.Flush())
	require.EqualValues(t, 1, db.Stats().Repaired)

	undecided := func(s *store.Span) bool { return !keeps(s.TraceID).Keep && !pinned[s.TraceID] && !gone[s.TraceID] }
	now.Advance(2 * time.Hour)
	doomed := byTrace(pick(all, undecided))
	kept := pick(left(), func(s *store.Span) bool { return !undecided(s) })
	c.expect("decide and merge", kept, doomed...)
	require.NoError(t, db.Compact(ctx))
	for _, b := range doomed {
		gone[b.Spans[0].TraceID] = true
	}
	c.expect("rewrite", left())
	require.NoError(t, db.Rewrite(ctx))
	appended(25)
	block()
	c.expect("restart", left())
	require.NoError(t, db.Close(ctx))
	db = open(t, opts)
	_, err = db.SetDecider(newKeeper(t))
	require.NoError(t, err)

	// The block with the latest spans goes to quarantine, and with it what is in no other.
	dirs, err = mem.ReadDir("data/blocks")
	require.NoError(t, err)
	last := byTrace(pick(left(), func(s *store.Span) bool { return int64(s.StartNano) >= now.Now().UnixNano() }))
	require.NotEmpty(t, last)
	rest := pick(left(), func(s *store.Span) bool { return int64(s.StartNano) < now.Now().UnixNano() })
	c.expect("quarantine", rest, last...)
	damage(t, mem, filepath.Join("data", "blocks", dirs[len(dirs)-1].Name, "resources.parquet"), "cut")
	_, err = db.Scrub(ctx)
	require.NoError(t, err)
	require.NoError(t, db.Flush())
	require.EqualValues(t, 1, db.Stats().Quarantined)
	for _, b := range last {
		gone[b.Spans[0].TraceID] = true
	}
	c.expect("restart with a damaged meta", left())
	require.NoError(t, db.Close(ctx))
	damage(t, mem, filepath.Join("data", "blocks", dirs[0].Name, "meta.json"), "flipped")
	db = open(t, opts)
	_, err = db.SetDecider(newKeeper(t))
	require.NoError(t, err)

	c.expect("a day later", left())
	now.Advance(24 * time.Hour)
	require.NoError(t, db.Compact(ctx))
	now.Advance(96 * time.Hour)
	c.expect("too old", &store.Batch{}, byTrace(left())...)
	db.Tick()
	require.NoError(t, db.Flush())
	c.expect("close", &store.Batch{})
	require.Zero(t, db.Stats().Spans)
	require.NoError(t, db.Close(ctx))
	c.expect("", nil)
	faulty.Before(nil)

	kinds := map[string]int{}
	opts.FS = nil
	for i := range c.cuts {
		kinds[c.cuts[i].kind]++
		reopenAfterCut(t, opts, &c.cuts[i])
	}
	for _, s := range synced {
		require.Positive(t, kinds[s.kind], "the power was cut at a sync of %s: %v", s.kind, kinds)
	}
	require.Len(t, kinds, len(synced), "%v", kinds)
	t.Logf("%d power cuts: %v", len(c.cuts), kinds)
}

// reopenAfterCut opens what a power cut left, compares it with what may be there, and goes on with it.
func reopenAfterCut(t *testing.T, opts tracedb.Options, cut *powerCut) {
	t.Helper()
	name := fmt.Sprintf("%s: %s", cut.outlook.step, cut.where)
	opts.FS, opts.Clock = cut.fs, func() time.Time { return cut.at }
	opts.Retention.MaxAge = 0 // What is too old would be gone before it can be looked at.
	db, err := tracedb.Open(t.Context(), opts)
	require.NoError(t, err, name)
	got, _ := everything(t, db)
	here := map[spanKey]bool{}
	for i := range got.Spans {
		here[keyOf(&got.Spans[i])] = true
	}
	want := pick(cut.outlook.must, func(*store.Span) bool { return true })
	for _, group := range cut.outlook.may {
		n := 0
		for i := range group.Spans {
			if here[keyOf(&group.Spans[i])] {
				n++
			}
		}
		require.True(t, n == 0 || n == len(group.Spans), "%s: %d of %d spans that belong together", name, n, len(group.Spans))
		if n > 0 {
			merge(want, group)
		}
	}
	require.Equal(t, len(want.Spans), len(got.Spans), name) //nolint:testifylint // Len prints all of them.
	storetest.RequireSameSpans(t, want, got)
	more := testkit.NewGenerator(12).Batch(10)
	shift(more, opts.Clock())
	require.NoError(t, db.Append(t.Context(), more), name)
	require.NoError(t, db.Cut(), name)
	require.NoError(t, db.Flush(), name)
	merge(want, more)
	got, _ = everything(t, db)
	require.Equal(t, len(want.Spans), len(got.Spans), name) //nolint:testifylint // Len prints all of them.
	requireAccounts(t, db, cut.fs, opts.Dir)
	require.NoError(t, db.Close(t.Context()), name)
}

// spanKey tells spans of the test apart.
type spanKey struct {
	trace spanid.TraceID
	span  spanid.SpanID
	kind  int32
}

func keyOf(s *store.Span) spanKey { return spanKey{s.TraceID, s.SpanID, int32(s.Kind)} }
