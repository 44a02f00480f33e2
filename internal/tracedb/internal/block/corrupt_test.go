package block

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") == "1" }

// nastyBlock returns a small block with everything in it.
func nastyBlock(tb testing.TB, fs fsx.FS, n int) *store.Batch {
	tb.Helper()
	g := testkit.NewNasty(7)
	g.MaxString = 0
	b := g.Batch(n)
	mergeBatch(b, testkit.NewGenerator(7).Batch(n))
	sortRows(b)
	require.NoError(tb, fs.MkdirAll("blocks"))
	writeBlock(tb, fs, "x", b, WriterOptions{})
	return b
}

func newTestReader(tb testing.TB, fs fsx.FS) *Reader {
	tb.Helper()
	r, err := NewReader(fs, NewLRU(0), 1)
	require.NoError(tb, err)
	tb.Cleanup(r.Close)
	return r
}

// answers opens a block and asks it for everything. The texts of the answers are returned.
func answers(r *Reader, predicates []*store.Predicate) (out []string, err error) {
	b, err := r.Open("blocks/x")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Release()) }()
	ctx := context.Background()
	rows := make([]uint32, b.Info().Rows)
	for i := range rows {
		rows[i] = uint32(i)
	}
	var all store.Batch
	if err := b.Spans(ctx, rows, &all); err != nil {
		return nil, err
	}
	for i := range all.Spans {
		out = append(out, storetest.Canonical(&all, i))
	}
	for i := 0; i < len(all.Spans); i += 7 {
		got, err := b.TraceRows(ctx, all.Spans[i].TraceID, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprint(got))
	}
	for _, p := range predicates {
		for g := range b.Meta().granules() {
			var sel store.Bitmap
			sel.Fill(store.GranuleRows)
			may := b.MayMatch(g, p)
			if err := b.Filter(ctx, g, p, &sel); err != nil {
				return nil, err
			}
			// MayMatch may say more than necessary where it cannot read.
			out = append(out, fmt.Sprint(sel.Count(), sel.Any() && !may))
			var v store.Vector
			sel.Fill(b.Info().Rows)
			if err := b.Read(ctx, g, p.Column, &sel, &v); err != nil {
				return nil, err
			}
			var vals []store.Value
			for i := range v.Rows() {
				vals = v.AppendTo(vals, i)
			}
			out = append(out, fmt.Sprint(vals))
			sel.Fill(0)
			for r := 0; r < min(b.Info().Rows, store.GranuleRows); r += 40 {
				sel.Set(r)
			}
			if err := b.Pick(ctx, g, p.Column, &sel, &v); err != nil {
				return nil, err
			}
			out = append(out, fmt.Sprint(v.AppendTo(nil, v.Rows()-1)))
		}
	}
	for i := range b.Ranges() {
		counts, err := b.Counts(ctx, i)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprint(counts))
	}
	attrs, err := b.Attributes(ctx)
	return append(out, fmt.Sprint(attrs)), err
}

func (m *Meta) granules() int { return (m.Rows + store.GranuleRows - 1) / store.GranuleRows }

func somePredicates(b *store.Batch, n int) []*store.Predicate {
	gen := storetest.NewPredicates(3, b)
	var out []*store.Predicate
	for range n {
		out = append(out, gen.Next())
	}
	return out
}

func replaceFile(tb testing.TB, fs fsx.FS, path string, data []byte) {
	tb.Helper()
	f, err := fs.Create(path)
	require.NoError(tb, err)
	_, err = f.Write(data)
	require.NoError(tb, err)
	require.NoError(tb, f.Close())
}

// TestFlippedBits changes bits of every file. Either somebody notices, with the right kind of error, or the answers
// are the right ones; the scrub always notices.
func TestFlippedBits(t *testing.T) {
	fs := fsx.NewMem()
	predicates := somePredicates(nastyBlock(t, fs, 20), 5)
	r := newTestReader(t, fs)
	want, err := answers(r, predicates)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	per := 8
	if full() {
		per = 1500
	}
	for _, name := range append([]string{MetaFile}, dataFiles...) {
		path := filepath.Join("blocks/x", name)
		orig, err := fsx.ReadFile(fs, path)
		require.NoError(t, err)
		noticed := 0
		for range per {
			data := slices.Clone(orig)
			at := rng.IntN(len(data))
			bit := byte(1) << rng.IntN(8)
			data[at] ^= bit
			replaceFile(t, fs, path, data)
			got, err := answers(r, predicates)
			if err != nil {
				var ce *store.CorruptionError
				require.ErrorAs(t, err, &ce, "%s byte %d bit %d", name, at, bit)
				require.NotContains(t, err.Error(), "panicked", "%s byte %d bit %d", name, at, bit)
				noticed++
			} else if !slices.Equal(want, got) {
				t.Fatalf("%s byte %d bit %#x: wrong answers without an error", name, at, bit)
			}
			if b, err := r.Open("blocks/x"); err == nil {
				require.Error(t, b.Verify(context.Background(), nil), "%s byte %d bit %d", name, at, bit)
				require.NoError(t, b.Release())
			}
		}
		require.Greater(t, noticed, per/4, "damage to %s is noticed", name)
		replaceFile(t, fs, path, orig)
	}
	got, err := answers(r, predicates)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestTruncatedAndMissingFiles(t *testing.T) {
	fs := fsx.NewMem()
	nastyBlock(t, fs, 30)
	r := newTestReader(t, fs)
	for _, name := range append([]string{MetaFile}, dataFiles...) {
		path := filepath.Join("blocks/x", name)
		orig, err := fsx.ReadFile(fs, path)
		require.NoError(t, err)
		for _, n := range []int{0, 1, 4, len(orig) / 2, len(orig) - 1} {
			replaceFile(t, fs, path, orig[:n])
			_, err := answers(r, nil)
			var ce *store.CorruptionError
			require.ErrorAs(t, err, &ce, "%s cut to %d bytes", name, n)
			require.Contains(t, err.Error(), name)
		}
		replaceFile(t, fs, path, append(slices.Clone(orig), 0))
		_, err = answers(r, nil)
		var ce *store.CorruptionError
		require.ErrorAs(t, err, &ce, "%s with a byte too many", name)
		require.NoError(t, fs.Remove(path))
		_, err = answers(r, nil)
		require.ErrorAs(t, err, &ce, "%s missing", name)
		replaceFile(t, fs, path, orig)
	}
	_, err := answers(r, nil)
	require.NoError(t, err)
}

func TestWrongVersion(t *testing.T) {
	m, err := encodeMeta(&Meta{Version: Version + 1})
	require.NoError(t, err)
	_, err = DecodeMeta(m, "meta.json")
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "this program reads version 1")
}

// TestWriteFaults makes each call that the writer makes fail, one after the other. Nothing with the block's name may
// be left, and the next attempt succeeds.
func TestWriteFaults(t *testing.T) {
	g := testkit.NewNasty(9)
	b := g.Batch(12)
	sortRows(b)
	attempt := func(fs fsx.FS) error {
		w, err := NewWriter(fs, "blocks", WriterOptions{ID: "x"})
		if err != nil {
			return err
		}
		if err := w.Append(context.Background(), b); err != nil {
			return errors.Join(err, w.Abort())
		}
		if _, err := w.Finish(context.Background()); err != nil {
			return errors.Join(err, w.Abort())
		}
		return w.Abort() // does nothing now
	}
	broken := errors.New("disk is broken")
	for _, op := range []fsx.Op{fsx.OpCreate, fsx.OpMkdir, fsx.OpWrite, fsx.OpSync, fsx.OpSyncDir, fsx.OpRename, fsx.OpClose} {
		for after := 0; ; after++ {
			mem := fsx.NewMem()
			require.NoError(t, mem.MkdirAll("blocks"))
			fs := fsx.NewFaulty(mem)
			fs.Inject(fsx.Fault{Op: op, After: after, Err: broken, Short: 3})
			calls := func() int { return fs.Calls(op) }
			err := attempt(fs)
			if calls() <= after {
				require.NoError(t, err)
				require.Positive(t, after, "%s is called", op)
				break
			}
			require.ErrorIs(t, err, broken, "%s %d", op, after)
			list, lerr := mem.ReadDir("blocks")
			require.NoError(t, lerr)
			require.Empty(t, list, "%s %d leaves nothing", op, after)
			fs.Clear()
			require.NoError(t, attempt(fs), "%s %d: second attempt", op, after)
			_, err = answers(newTestReader(t, mem), nil)
			require.NoError(t, err)
		}
	}
}

// TestPowerCut cuts the power at every call while a block is written. Afterwards the block is there as a whole or not
// at all, and it is there if Finish had returned.
func TestPowerCut(t *testing.T) {
	b := testkit.NewGenerator(3).Batch(50)
	sortRows(b)
	mem := fsx.NewMem()
	require.NoError(t, mem.MkdirAll("blocks"))
	require.NoError(t, mem.SyncDir("."))
	fs := fsx.NewFaulty(mem)
	rng := rand.New(rand.NewPCG(4, 4))
	var clones []*fsx.Mem
	fs.Before(func(fsx.Op, string) {
		for range 6 {
			clones = append(clones, mem.CrashClone(rng))
		}
	})
	writeBlock(t, fs, "x", b, WriterOptions{})
	fs.Before(nil)
	for range 5 {
		clone := mem.CrashClone(rng)
		got, err := answers(newTestReader(t, clone), nil)
		require.NoError(t, err, "after Finish")
		require.Greater(t, len(got), len(b.Spans))
	}
	whole := 0
	for _, c := range clones {
		if _, err := c.Stat("blocks/x"); err != nil {
			continue
		}
		whole++
		got, err := answers(newTestReader(t, c), nil)
		require.NoError(t, err, "a block with its final name is complete")
		require.Greater(t, len(got), len(b.Spans))
	}
	require.Positive(t, whole)
	require.Greater(t, len(clones), 50)
}

func TestReferences(t *testing.T) {
	fs := fsx.NewMem()
	nastyBlock(t, fs, 10)
	r := newTestReader(t, fs)
	b, err := r.Open("blocks/x")
	require.NoError(t, err)
	gone := 0
	b.OnZero(func() { gone++ })
	require.True(t, b.Acquire())
	require.NoError(t, b.Release())
	require.Zero(t, gone)
	require.NoError(t, b.Release())
	require.Equal(t, 1, gone)
	require.False(t, b.Acquire())
	require.ErrorContains(t, b.Release(), "more often")
	require.Equal(t, 1, gone)
}

func TestWriterRefuses(t *testing.T) {
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks"))
	for _, id := range []string{"", "a/b", ".."} {
		_, err := NewWriter(fs, "blocks", WriterOptions{ID: id})
		require.ErrorContains(t, err, "no block id", "%q", id)
	}
	ctx := context.Background()
	newWriter := func() *Writer {
		w, err := NewWriter(fs, "blocks", WriterOptions{ID: "x"})
		require.NoError(t, err)
		return w
	}
	w := newWriter()
	require.ErrorIs(t, w.Append(ctx, &store.Batch{Spans: make([]store.Span, 1)}), store.ErrInvalid)
	_, err := w.Finish(ctx)
	require.ErrorIs(t, err, store.ErrInvalid, "an error sticks")
	require.NoError(t, w.Abort())

	w = newWriter()
	_, err = w.Finish(ctx)
	require.ErrorContains(t, err, "needs a span")
	require.NoError(t, w.Abort())

	w = newWriter()
	one := func(id byte) store.Span { return store.Span{TraceID: [16]byte{id}} }
	split := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{one(1), one(2), one(1)}}
	require.NoError(t, w.Append(ctx, split))
	_, err = w.Finish(ctx)
	require.ErrorContains(t, err, "not contiguous")
	require.NoError(t, w.Abort())

	require.NoError(t, fs.MkdirAll("blocks/old"))
	_, err = NewWriter(fs, "blocks", WriterOptions{ID: "old"})
	require.ErrorIs(t, err, os.ErrExist)
	_, err = fs.Stat("blocks/old")
	require.NoError(t, err, "a block that was there is left alone")
	w, err = NewWriter(fs, "blocks", WriterOptions{ID: "x"})
	require.NoError(t, err)
	require.NoError(t, w.Append(ctx, &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: []store.Span{one(1)}}))
	require.NoError(t, fs.Remove("blocks/old"))
	require.NoError(t, w.Abort())

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	w = newWriter()
	require.ErrorIs(t, w.Append(cancelled, split), context.Canceled)
	require.NoError(t, w.Abort())
	list, err := fs.ReadDir("blocks")
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestCallersMistakes makes sure that a bad question is not taken for a bad block.
func TestCallersMistakes(t *testing.T) {
	fs := fsx.NewMem()
	nastyBlock(t, fs, 10)
	b, err := newTestReader(t, fs).Open("blocks/x")
	require.NoError(t, err)
	column := store.Intrinsic(store.SpanName)
	var sel store.Bitmap
	sel.Fill(5)
	for _, p := range []*store.Predicate{{Column: column, Op: store.OpEq}, {Column: column, Op: store.OpRegex}, {Column: column, Op: 99}} {
		require.ErrorIs(t, b.Filter(t.Context(), 0, p, &sel), store.ErrInvalid)
		require.True(t, b.MayMatch(0, p))
	}
	require.ErrorIs(t, b.Filter(t.Context(), 0, &store.Predicate{Column: store.Intrinsic("nonsense")}, &sel), store.ErrUnsupported)
	require.ErrorIs(t, b.Filter(t.Context(), 7, &store.Predicate{Column: column}, &sel), store.ErrInvalid)
	require.NoError(t, b.Release())
}

func TestNames(t *testing.T) {
	seen := map[string]string{}
	for scope := range scopePrefixes {
		for _, key := range append(slices.Clone(testkit.NastyKeys), "http.route", "x@string", "a@int@int", "@", strings.Repeat("k", 256)) {
			for typ := range columnTypes {
				name := attrName(scope, key, typ)
				id := fmt.Sprint(scope, key, typ)
				require.NotContains(t, seen, name, "%s and %s", id, seen[name])
				seen[name] = id
				s, k, ty, ok := parseAttrName(name)
				require.True(t, ok, name)
				require.Equal(t, id, fmt.Sprint(s, k, ty))
			}
		}
	}
	for _, bad := range []string{"trace_id", "span.a@nonsense", "span.a@string", "overflow", ""} {
		_, _, _, ok := parseAttrName(bad)
		require.False(t, ok, bad)
	}
}
