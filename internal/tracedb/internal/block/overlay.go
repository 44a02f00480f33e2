package block

import (
	"bytes"
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
