package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
)

// Rebuild makes a manifest from the blocks in a directory, and from the decisions in another, which may be missing. Blocks
// that another one replaced, by its list of parents, are left out. Of overlays the newest is taken; a block of which that is
// damaged must not be shown, since nothing else knows what it hides. bad holds what could not be read; it is for the caller
// to quarantine. An error of the file system, or a block of an unknown version, ends it.
func Rebuild(fsys fsx.FS, blocksDir, decisionsDir string) (m *Manifest, bad map[string]error, err error) {
	list, err := fsys.ReadDir(blocksDir)
	if err != nil {
		return nil, nil, fmt.Errorf("rebuild manifest: %w", err)
	}
	m, bad = &Manifest{Version: Version}, map[string]error{}
	replaced := map[string]bool{}
	for _, e := range list {
		if !e.Dir || !ValidID(e.Name) {
			continue
		}
		dir := filepath.Join(blocksDir, e.Name)
		meta, err := block.ReadMeta(fsys, dir)
		var corrupt *store.CorruptionError
		switch {
		case errors.Is(err, block.ErrVersion):
			return nil, nil, fmt.Errorf("rebuild manifest: %w", err)
		case errors.As(err, &corrupt):
			bad[e.Name] = err
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("rebuild manifest: %w", err)
		}
		entry := Block{ID: e.Name, Level: meta.Level}
		entry.Overlay, err = newestOverlay(fsys, dir)
		if errors.As(err, &corrupt) {
			bad[e.Name] = err
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("rebuild manifest: %w", err)
		}
		m.Blocks = append(m.Blocks, entry)
		m.WALMark = max(m.WALMark, meta.WALMark)
		for _, p := range meta.Parents {
			replaced[p] = true
		}
	}
	m.Blocks = slices.DeleteFunc(m.Blocks, func(b Block) bool { return replaced[b.ID] })
	if m.Decisions, err = newestOverlay(fsys, decisionsDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if _, ok := errors.AsType[*store.CorruptionError](err); !ok {
			return nil, nil, fmt.Errorf("rebuild manifest: %w", err)
		}
		// Late spans of those traces are decided about anew.
	}
	// Ids begin with the time, so that this is the order in which the blocks were written.
	slices.SortFunc(m.Blocks, func(a, b Block) int { return strings.Compare(a.ID, b.ID) })
	return m, bad, nil
}

// newestOverlay returns the overlay file with the highest number, nil if there is none. It was renamed to its name when it
// was complete, so that it is never half of one.
func newestOverlay(fsys fsx.FS, dir string) (*block.OverlayRef, error) {
	list, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range slices.Backward(list) { // They are in the order of their names, which hold the number in hexadecimal.
		if !strings.HasPrefix(f.Name, "overlay-") || strings.HasSuffix(f.Name, fsx.TempSuffix) {
			continue
		}
		path := filepath.Join(dir, f.Name)
		b, err := fsx.ReadFile(fsys, path)
		if err != nil {
			return nil, err
		}
		o, err := block.DecodeOverlay(b, path)
		if err != nil {
			return nil, err
		}
		if o.Block != filepath.Base(dir) {
			return nil, &store.CorruptionError{Path: path, Err: fmt.Errorf("it is the overlay of block %s", o.Block)}
		}
		ref := block.RefOverlay(f.Name, b)
		return &ref, nil
	}
	return nil, nil
}
