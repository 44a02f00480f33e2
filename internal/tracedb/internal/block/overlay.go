package block

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// Overlay is what has been decided about a block's traces since it was written. It is immutable once it is used.
type Overlay struct {
	Block string // the block's id
	Seq   uint64 // counts the overlays of the block, from 1
	// Policies are the names that TraceNote.Policy refers to.
	Policies []string
	Traces   []TraceNote // sorted by id, each once
	Patches  []Patch
}

// TraceFlags say what is to become of a trace.
type TraceFlags uint8

// The flags. A trace with Dropped or Erased is hidden at once, unless it is dropped and also pinned or pending; the next rewrite leaves
// it out. Erased asks for that rewrite soon.
const (
	Dropped  TraceFlags = 1 << iota // the sampling decision was not to keep it
	Kept                            // the sampling decision was to keep it
	Erased                          // deleted on request
	Pinned                          // kept whatever the sampling decision is
	Pending                         // the decision holds when the block leaves the recent window
	allFlags = Dropped | Kept | Erased | Pinned | Pending
)

// Hidden reports whether the flags hide a trace.
func (f TraceFlags) Hidden() bool {
	return f&Erased != 0 || f&Dropped != 0 && f&(Pinned|Pending) == 0
}

// Decided reports whether the sampling decision is known.
func (f TraceFlags) Decided() bool { return f&(Dropped|Kept) != 0 }

// NoPolicy in TraceNote.Policy says that no policy has decided.
const NoPolicy = ^uint16(0)

// TraceNote is what an overlay says about a trace.
type TraceNote struct {
	ID     spanid.TraceID
	Flags  TraceFlags
	Policy uint16 // index into Overlay.Policies, or NoPolicy
	Time   uint64 // of the last change, Unix nanoseconds
}

// Patch replaces a row of the resource table: a resource, or a scope if IsScope.
type Patch struct {
	ID       int
	IsScope  bool
	Resource store.Resource
	Scope    store.Scope
}

// OverlayRef names an overlay file; the manifest keeps it.
type OverlayRef struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`
}

const (
	overlayHead  = 24 // magic, sequence number, lengths
	overlayNote  = 27
	maxOverlay   = 1 << 30
	maxPolicies  = 1<<16 - 1
	overlayStart = "overlay-"
)

var overlayMagic = [8]byte{'B', 'R', 'O', 'V', 'L', 'A', 'Y', '1'}

// Set adds notes, replacing those of the same traces. Of several notes of one trace the last counts.
func (o *Overlay) Set(notes ...TraceNote) {
	o.Traces = append(o.Traces, notes...)
	slices.SortStableFunc(o.Traces, func(a, b TraceNote) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	kept := o.Traces[:0]
	for i, n := range o.Traces {
		if i+1 == len(o.Traces) || o.Traces[i+1].ID != n.ID {
			kept = append(kept, n)
		}
	}
	o.Traces = kept
}

func (o *Overlay) find(id spanid.TraceID) (int, bool) {
	return slices.BinarySearchFunc(o.Traces, id, func(n TraceNote, id spanid.TraceID) int {
		return bytes.Compare(n.ID[:], id[:])
	})
}

// Note returns what the overlay says about a trace.
func (o *Overlay) Note(id spanid.TraceID) (TraceNote, bool) {
	if o == nil {
		return TraceNote{}, false
	}
	i, found := o.find(id)
	if !found {
		return TraceNote{}, false
	}
	return o.Traces[i], true
}

// Clone returns a copy with the next sequence number, to be changed and written.
func (o *Overlay) Clone() *Overlay {
	c := *o
	c.Seq++
	c.Policies, c.Traces, c.Patches = slices.Clone(o.Policies), slices.Clone(o.Traces), slices.Clone(o.Patches)
	return &c
}

// cacheSeq tells overlays of a block apart in the cache.
func (o *Overlay) cacheSeq() int32 {
	if o == nil || len(o.Patches) == 0 {
		return 0
	}
	return int32(o.Seq & (1<<31 - 1)) //nolint:gosec // masked
}

// patch replaces rows of the resource table.
func (o *Overlay) patch(r *resources) error {
	if o == nil {
		return nil
	}
	for i := range o.Patches {
		p := &o.Patches[i]
		switch {
		case p.ID < 0 || p.IsScope && p.ID >= len(r.scopes) || !p.IsScope && p.ID >= len(r.resources):
			return fmt.Errorf("overlay %d patches row %d, which does not exist", o.Seq, p.ID)
		case p.IsScope:
			r.scopes[p.ID] = p.Scope
		default:
			r.resources[p.ID] = p.Resource
		}
	}
	return nil
}

// encode returns the contents of the overlay's file.
func (o *Overlay) encode() ([]byte, error) {
	if len(o.Policies) > maxPolicies {
		return nil, fmt.Errorf("overlay of block %s has %d policies, at most %d are possible", o.Block, len(o.Policies), maxPolicies)
	}
	le := binary.LittleEndian
	b := append([]byte{}, overlayMagic[:]...)
	b = le.AppendUint64(b, o.Seq)
	b = le.AppendUint32(b, uint32(len(o.Traces)))  //nolint:gosec // at most the traces of a block
	b = le.AppendUint32(b, uint32(len(o.Patches))) //nolint:gosec // at most the resources of a block
	b = appendText(b, o.Block)
	b = binary.AppendUvarint(b, uint64(len(o.Policies)))
	for _, p := range o.Policies {
		b = appendText(b, p)
	}
	for i := range o.Traces {
		n := &o.Traces[i]
		if i > 0 && bytes.Compare(o.Traces[i-1].ID[:], n.ID[:]) >= 0 || n.Flags&^allFlags != 0 ||
			n.Policy != NoPolicy && int(n.Policy) >= len(o.Policies) {
			return nil, fmt.Errorf("overlay of block %s: note of trace %s is out of order or refers to what is not there", o.Block, n.ID)
		}
		b = append(b, n.ID[:]...)
		b = append(b, byte(n.Flags))
		b = le.AppendUint16(b, n.Policy)
		b = le.AppendUint64(b, n.Time)
	}
	for i := range o.Patches {
		b = appendPatch(b, &o.Patches[i])
	}
	return le.AppendUint32(b, crc32.Checksum(b, column.Castagnoli)), nil
}

func appendPatch(b []byte, p *Patch) []byte {
	if p.IsScope {
		b = binary.AppendUvarint(append(b, 1), uint64(p.ID)) //nolint:gosec // not negative
		b = binary.AppendUvarint(b, uint64(p.Scope.DroppedAttrs))
		b = appendText(appendText(appendText(b, p.Scope.SchemaURL), p.Scope.Name), p.Scope.Version)
		return appendText(b, store.Map(p.Scope.Attrs...).Str)
	}
	b = binary.AppendUvarint(append(b, 0), uint64(p.ID)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, uint64(p.Resource.DroppedAttrs))
	b = appendText(appendText(b, p.Resource.SchemaURL), p.Resource.EntityRefs)
	return appendText(b, store.Map(p.Resource.Attrs...).Str)
}

var errOverlay = errors.New("overlay is malformed")

// DecodeOverlay parses the contents of an overlay file. name is for errors.
func DecodeOverlay(b []byte, name string) (*Overlay, error) {
	o, err := decodeOverlay(b)
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: err}
	}
	return o, nil
}

func decodeOverlay(b []byte) (*Overlay, error) {
	le := binary.LittleEndian
	if len(b) < overlayHead+4 || [8]byte(b[:8]) != overlayMagic {
		return nil, errors.New("it is not an overlay of version 1")
	}
	end := len(b) - 4
	if got, want := crc32.Checksum(b[:end], column.Castagnoli), le.Uint32(b[end:]); got != want {
		return nil, fmt.Errorf("checksum is %08x, want %08x", got, want)
	}
	o := &Overlay{Seq: le.Uint64(b[8:])}
	traces, patches := int(le.Uint32(b[16:])), int(le.Uint32(b[20:]))
	c := overlayCursor{b: b[overlayHead:end]}
	o.Block = c.text()
	policies := c.count()
	if policies > min(len(c.b), maxPolicies) {
		return nil, errOverlay
	}
	for range policies {
		o.Policies = append(o.Policies, c.text())
	}
	if c.bad || traces > len(c.b)/overlayNote {
		return nil, errOverlay
	}
	o.Traces = make([]TraceNote, traces)
	for i := range o.Traces {
		n := &o.Traces[i]
		raw := c.take(overlayNote)
		copy(n.ID[:], raw)
		n.Flags, n.Policy, n.Time = TraceFlags(raw[16]), le.Uint16(raw[17:]), le.Uint64(raw[19:])
		if i > 0 && bytes.Compare(o.Traces[i-1].ID[:], n.ID[:]) >= 0 || n.Flags&^allFlags != 0 ||
			n.Policy != NoPolicy && int(n.Policy) >= len(o.Policies) {
			return nil, errOverlay
		}
	}
	if patches > len(c.b) {
		return nil, errOverlay
	}
	for range patches {
		o.Patches = append(o.Patches, c.patch())
	}
	if c.bad || len(c.b) != 0 {
		return nil, errOverlay
	}
	return o, nil
}

// overlayCursor reads an overlay. Once bad, it stays bad and gives zeros.
type overlayCursor struct {
	b   []byte
	bad bool
}

func (c *overlayCursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *overlayCursor) count() int {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > maxOverlay {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *overlayCursor) text() string { return string(c.take(c.count())) }

func (c *overlayCursor) dropped() uint32 {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > 1<<32-1 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return uint32(v)
}

func (c *overlayCursor) attrs() []store.Attr {
	attrs, err := store.Value{Type: store.TypeMap, Str: c.text()}.Attrs()
	if err != nil {
		c.bad = true
	}
	return attrs
}

func (c *overlayCursor) patch() Patch {
	var p Patch
	kind := c.take(1)
	if c.bad || kind[0] > 1 {
		c.bad = true
		return p
	}
	p.IsScope = kind[0] == 1
	p.ID = c.count()
	dropped, schema := c.dropped(), c.text()
	if p.IsScope {
		p.Scope = store.Scope{DroppedAttrs: dropped, SchemaURL: schema, Name: c.text(), Version: c.text()}
		p.Scope.Attrs = c.attrs()
		return p
	}
	p.Resource = store.Resource{DroppedAttrs: dropped, SchemaURL: schema, EntityRefs: c.text()}
	p.Resource.Attrs = c.attrs()
	return p
}

// WriteOverlay writes the overlay durably into the block's directory under a new name, which takes effect when the
// manifest names it. A file of the same name, which no manifest can name, is replaced.
func WriteOverlay(fsys fsx.FS, dir string, o *Overlay) (OverlayRef, error) {
	b, err := o.encode()
	if err != nil {
		return OverlayRef{}, err
	}
	ref := OverlayRef{Name: fmt.Sprintf("%s%016x", overlayStart, o.Seq), Size: int64(len(b)), CRC: crc32.Checksum(b, column.Castagnoli)}
	if err := fsx.WriteFileAtomic(fsys, filepath.Join(dir, ref.Name), b); err != nil {
		return OverlayRef{}, fmt.Errorf("write overlay %d of block %s: %w", o.Seq, o.Block, err)
	}
	return ref, nil
}

// RefOverlay returns the reference to an overlay file with these contents.
func RefOverlay(name string, contents []byte) OverlayRef {
	return OverlayRef{Name: name, Size: int64(len(contents)), CRC: crc32.Checksum(contents, column.Castagnoli)}
}

// ReadOverlay reads the overlay that the manifest names and checks that it is the one, and the block's.
func ReadOverlay(fsys fsx.FS, dir string, ref OverlayRef) (*Overlay, error) {
	path := filepath.Join(dir, ref.Name)
	b, err := fsx.ReadFile(fsys, path)
	if err != nil {
		return nil, missing(path, err)
	}
	if got := crc32.Checksum(b, column.Castagnoli); int64(len(b)) != ref.Size || got != ref.CRC {
		return nil, &store.CorruptionError{
			Path: path, Err: fmt.Errorf("file has %d bytes with checksum %08x, want %d and %08x", len(b), got, ref.Size, ref.CRC),
		}
	}
	o, err := DecodeOverlay(b, path)
	if err != nil {
		return nil, err
	}
	if o.Block != filepath.Base(dir) {
		return nil, &store.CorruptionError{Path: path, Err: fmt.Errorf("overlay belongs to block %s", o.Block)}
	}
	return o, nil
}

// RemoveOverlays removes the overlay files of a block but the one to keep (none if its name is empty).
func RemoveOverlays(fsys fsx.FS, dir string, keep OverlayRef) error {
	list, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list overlays: %w", err)
	}
	var errs []error
	for _, f := range list {
		if len(f.Name) > len(overlayStart) && f.Name[:len(overlayStart)] == overlayStart && f.Name != keep.Name {
			if err := fsys.Remove(filepath.Join(dir, f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// WithOverlay returns the block with an overlay (nil for none): its resources and scopes are the patched ones. Files and
// references are shared with b, which stays as it is. Hidden traces are not left out of rows: see HiddenRows.
func (b *Block) WithOverlay(o *Overlay) *Block {
	c := *b
	c.overlay = o
	return &c
}

// Overlay returns the block's overlay, nil if there is none.
func (b *Block) Overlay() *Overlay { return b.overlay }

// HiddenRows returns the rows of the traces that the overlay hides, ascending. Who publishes the block masks them, which
// renumbers rows, so that the block itself need not.
func (b *Block) HiddenRows(ctx context.Context) (rows []uint32, err error) {
	defer b.contain(&err)
	if b.overlay == nil {
		return nil, nil
	}
	var ranges []index.Trace
	notes := b.overlay.Traces
	var page []index.Trace
	for p := 0; p < b.traces.Pages() && len(notes) > 0; p++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("find hidden rows of block %s: %w", b.meta.ID, err)
		}
		if page, err = b.traces.Page(p, page[:0]); err != nil {
			return nil, err
		}
		for _, e := range page {
			for len(notes) > 0 && bytes.Compare(notes[0].ID[:], e.ID[:]) < 0 {
				notes = notes[1:]
			}
			if len(notes) > 0 && notes[0].ID == e.ID && notes[0].Flags.Hidden() {
				ranges = append(ranges, e)
			}
		}
	}
	slices.SortFunc(ranges, func(a, b index.Trace) int { return cmp.Compare(a.Row, b.Row) })
	for _, e := range ranges {
		if uint64(e.Row)+uint64(e.Spans) > uint64(b.meta.Rows) { //nolint:gosec // not negative
			return nil, b.corrupt(fileTraces, fmt.Errorf("trace %s has rows beyond the block", e.ID))
		}
		for r := range e.Spans {
			rows = append(rows, e.Row+r)
		}
	}
	return rows, nil
}

// patchedAttributes is the catalogue with the properties of resources and scopes counted anew, as attrs.idx has values
// that a patch removed.
func (b *Block) patchedAttributes(ctx context.Context) ([]store.AttributeInfo, error) {
	all, err := b.attributeCatalog()
	if err != nil {
		return nil, err
	}
	out := slices.Clone(all)
	out = slices.DeleteFunc(out, func(a store.AttributeInfo) bool {
		return a.Column.Scope == store.ScopeResource || a.Column.Scope == store.ScopeInstrumentation
	})
	refs, err := b.resources()
	if err != nil {
		return nil, err
	}
	perResource, perScope := make([]int, len(refs.resources)), make([]int, len(refs.scopes))
	for n := range b.first[len(b.first)-1] {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("count resources of block %s: %w", b.meta.ID, err)
		}
		g, err := b.granule(n)
		if err != nil {
			return nil, err
		}
		if err := g.countRefs(colResource, g.meta.ResourceBase, perResource); err != nil {
			return nil, err
		}
		if err := g.countRefs(colScope, g.meta.ScopeBase, perScope); err != nil {
			return nil, err
		}
	}
	counter := attrCounter{}
	for i, n := range perResource {
		counter.add(store.ScopeResource, refs.resources[i].Attrs, n)
	}
	for i, n := range perScope {
		counter.add(store.ScopeInstrumentation, refs.scopes[i].Attrs, n)
	}
	return sortCatalog(counter.catalog(out)), nil
}

// countRefs counts the rows of the granule per resource or scope.
func (g *granule) countRefs(col, base int, counts []int) error {
	v, err := g.column(col)
	if err != nil {
		return err
	}
	for r := range g.rows {
		id := v.Num(r) + uint64(base) //nolint:gosec // not negative
		if id >= uint64(len(counts)) {
			return g.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(counts)))
		}
		counts[id]++
	}
	return nil
}
