package block

import (
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

func someOverlay() *Overlay {
	o := &Overlay{Block: "x", Seq: 3, Policies: []string{"errors", ""}}
	o.Set(
		TraceNote{ID: spanid.TraceID{9}, Flags: Kept | Pinned, Policy: 0, Time: 1 << 60},
		TraceNote{ID: spanid.TraceID{1}, Flags: Erased, Policy: NoPolicy},
		TraceNote{ID: spanid.TraceID{5}, Flags: Dropped, Policy: 1, Time: ^uint64(0)},
	)
	o.Patches = []Patch{
		{ID: 0, Resource: store.Resource{
			Attrs: []store.Attr{{Key: "a", Value: store.String("b")}, {Key: "a", Value: store.Int(-1)}}, DroppedAttrs: 1<<32 - 1,
			SchemaURL: "u", EntityRefs: "\x00",
		}},
		{ID: 1, IsScope: true, Scope: store.Scope{Name: "n", Version: "v", SchemaURL: "s", DroppedAttrs: 7}},
	}
	return o
}

func TestOverlayRoundTrip(t *testing.T) {
	for _, want := range []*Overlay{{Block: "x", Seq: 1}, someOverlay()} {
		fs := fsx.NewMem()
		require.NoError(t, fs.MkdirAll("blocks/x"))
		ref, err := WriteOverlay(fs, "blocks/x", want)
		require.NoError(t, err)
		got, err := ReadOverlay(fs, "blocks/x", ref)
		require.NoError(t, err)
		require.Equal(t, want.Seq, got.Seq)
		require.Equal(t, want.Policies, got.Policies)
		require.Equal(t, want.Patches, got.Patches)
		require.True(t, slices.Equal(want.Traces, got.Traces))

		require.NoError(t, fs.MkdirAll("blocks/y"))
		_, err = WriteOverlay(fs, "blocks/y", want)
		require.NoError(t, err)
		_, err = ReadOverlay(fs, "blocks/y", ref)
		require.ErrorContains(t, err, "belongs to block x")
		require.NoError(t, RemoveOverlays(fs, "blocks/x", ref))
		_, err = ReadOverlay(fs, "blocks/x", ref)
		require.NoError(t, err)
		require.NoError(t, RemoveOverlays(fs, "blocks/x", OverlayRef{}))
		_, err = ReadOverlay(fs, "blocks/x", ref)
		var ce *store.CorruptionError
		require.ErrorAs(t, err, &ce)
	}
}

func TestOverlaySet(t *testing.T) {
	o := someOverlay()
	o.Set(TraceNote{ID: spanid.TraceID{5}, Flags: Kept}, TraceNote{ID: spanid.TraceID{2}}, TraceNote{ID: spanid.TraceID{2}, Flags: Pinned})
	require.Len(t, o.Traces, 4)
	n, ok := o.Note(spanid.TraceID{5})
	require.True(t, ok)
	require.Equal(t, Kept, n.Flags)
	n, ok = o.Note(spanid.TraceID{2})
	require.True(t, ok)
	require.Equal(t, Pinned, n.Flags)
	_, ok = o.Note(spanid.TraceID{3})
	require.False(t, ok)
	_, ok = (*Overlay)(nil).Note(spanid.TraceID{3})
	require.False(t, ok)
	for flags, hidden := range map[TraceFlags]bool{
		0: false, Dropped: true, Kept: false, Erased: true, Pinned: false, Dropped | Pinned: false, Erased | Pinned: true,
	} {
		require.Equal(t, hidden, flags.Hidden(), "%b", flags)
	}
}

func TestOverlayDamage(t *testing.T) {
	fs := fsx.NewMem()
	require.NoError(t, fs.MkdirAll("blocks/x"))
	ref, err := WriteOverlay(fs, "blocks/x", someOverlay())
	require.NoError(t, err)
	path := "blocks/x/" + ref.Name
	orig, err := fsx.ReadFile(fs, path)
	require.NoError(t, err)
	for i := range orig {
		bad := slices.Clone(orig)
		bad[i] ^= 1 << (i % 8)
		var ce *store.CorruptionError
		_, err := DecodeOverlay(bad, path)
		require.ErrorAs(t, err, &ce, "byte %d", i)
		_, err = DecodeOverlay(orig[:i], path)
		require.ErrorAs(t, err, &ce, "cut to %d bytes", i)
		replaceFile(t, fs, path, bad)
		_, err = ReadOverlay(fs, "blocks/x", ref)
		require.ErrorAs(t, err, &ce, "byte %d", i)
	}
	for _, o := range []*Overlay{
		{Traces: []TraceNote{{ID: spanid.TraceID{2}}, {ID: spanid.TraceID{1}}}},
		{Traces: []TraceNote{{Flags: 128, Policy: NoPolicy}}},
		{Traces: []TraceNote{{Policy: 0}}},
	} {
		_, err := o.encode()
		require.Error(t, err)
	}
}

// TestOverlayPowerCut cuts the power while an overlay replaces another: the one that the manifest names stays readable.
func TestOverlayPowerCut(t *testing.T) {
	mem := fsx.NewMem()
	require.NoError(t, mem.MkdirAll("blocks/x"))
	require.NoError(t, mem.SyncDir("."))
	require.NoError(t, mem.SyncDir("blocks"))
	o := someOverlay()
	old, err := WriteOverlay(mem, "blocks/x", o)
	require.NoError(t, err)
	fs := fsx.NewFaulty(mem)
	rng := rand.New(rand.NewPCG(8, 8))
	cuts := 0
	fs.Before(func(fsx.Op, string) {
		cuts++
		_, err := ReadOverlay(mem.CrashClone(rng), "blocks/x", old)
		require.NoError(t, err)
	})
	ref, err := WriteOverlay(fs, "blocks/x", o.Clone())
	require.NoError(t, err)
	require.Greater(t, cuts, 4)
	require.NotEqual(t, old.Name, ref.Name)
	_, err = ReadOverlay(mem.CrashClone(rng), "blocks/x", ref)
	require.NoError(t, err)
}

func TestOverlayApplied(t *testing.T) {
	fs := fsx.NewMem()
	all := nastyBlock(t, fs, 200)
	r, err := NewReader(fs, NewLRU(1<<20), 1)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	b, err := r.Open("blocks/x")
	require.NoError(t, err)
	ctx := context.Background()
	rows, err := b.HiddenRows(ctx)
	require.NoError(t, err)
	require.Empty(t, rows)

	o := &Overlay{Block: "x", Seq: 1}
	rng := rand.New(rand.NewPCG(2, 2))
	var want []uint32
	flags := map[spanid.TraceID]TraceFlags{{0xff, 0xff}: Erased} // one that the block does not have
	for i := range all.Spans {
		id := all.Spans[i].TraceID
		if _, ok := flags[id]; !ok {
			flags[id] = TraceFlags(rng.UintN(uint(allFlags) + 1))
		}
		if flags[id].Hidden() {
			want = append(want, uint32(i))
		}
	}
	for id, f := range flags {
		o.Set(TraceNote{ID: id, Flags: f, Policy: NoPolicy})
	}
	o.Patches = []Patch{{ID: 0, Resource: store.Resource{Attrs: []store.Attr{{Key: "service.name", Value: store.String("patched")}}}}}
	over := b.WithOverlay(o)
	rows, err = over.HiddenRows(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, want)
	require.Equal(t, want, rows)

	// The patched resource is everywhere, and only in the copy.
	column := store.Column{Scope: store.ScopeResource, Name: "service.name"}
	p := &store.Predicate{Column: column, Op: store.OpEq, Values: []store.Value{store.String("patched")}}
	count := func(b *Block) int {
		var sel store.Bitmap
		sel.Fill(b.Info().Rows)
		require.NoError(t, b.Filter(ctx, 0, p, &sel))
		require.Equal(t, sel.Any(), b.MayMatch(-1, p))
		return sel.Count()
	}
	require.Zero(t, count(b))
	n := count(over)
	require.Positive(t, n)
	listed := func(b *Block) (rows int) {
		attrs, err := b.Attributes(ctx)
		require.NoError(t, err)
		for _, a := range attrs {
			for _, v := range a.Top {
				if a.Column == column && v.Value == store.String("patched") {
					rows += v.Count
				}
			}
		}
		return rows
	}
	require.Zero(t, listed(b))
	require.Equal(t, n, listed(over))
	require.Zero(t, count(b.WithOverlay(&Overlay{Block: "x", Seq: 2})))

	o = o.Clone()
	o.Patches[0].ID = 1 << 20
	require.Error(t, b.WithOverlay(o).Filter(ctx, 0, p, &store.Bitmap{}))
	require.NoError(t, b.Release())
}

// FuzzOverlay decodes arbitrary bytes with the right checksum.
func FuzzOverlay(f *testing.F) {
	b, err := someOverlay().encode()
	require.NoError(f, err)
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, data []byte) {
		crc := crc32.Checksum(data, column.Castagnoli)
		o, err := DecodeOverlay(append(slices.Clone(data), byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)), "fuzz")
		if err != nil {
			if _, ok := errors.AsType[*store.CorruptionError](err); !ok {
				t.Fatalf("not a corruption error: %v", err)
			}
			return
		}
		again, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeOverlay(again, "fuzz"); err != nil {
			t.Fatalf("second round trip: %v", err)
		}
	})
}
