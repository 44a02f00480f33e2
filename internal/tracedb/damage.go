package tracedb

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/manifest"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/retain"
)

// loss is a damaged block: views leave it out and say so.
type loss struct {
	id string
	// from and to bound the times of its spans, Unix nanoseconds; all times if they are not known.
	from, to uint64
	why      error
	// mayHave reports false only if the block has no span of the trace; nil if that is not known because its trace index is
	// damaged as well.
	mayHave func(spanid.TraceID) bool
	// bytes on disk, in quarantine; moved says that it is there.
	bytes int64
	moved bool
}

// losses are the damaged blocks: those that the flusher has to repair or to take out of use, and those in quarantine.
// The list is replaced, never changed, so that views read it without a lock.
type losses struct {
	mu   sync.Mutex // for writers
	list atomic.Pointer[[]loss]
}

func (l *losses) load() []loss {
	if p := l.list.Load(); p != nil {
		return *p
	}
	return nil
}

// add notes a loss, unless the block is noted already.
func (l *losses) add(n loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.load()
	if slices.ContainsFunc(old, func(o loss) bool { return o.id == n.id }) {
		return
	}
	list := append(slices.Clone(old), n)
	l.list.Store(&list)
}

// change replaces the entry of a block; drop removes it.
func (l *losses) change(id string, f func(*loss) (drop bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.load())
	for i := range list {
		if list[i].id == id {
			if f(&list[i]) {
				list = slices.Delete(list, i, i+1)
			}
			break
		}
	}
	l.list.Store(&list)
}

func (l *losses) remove(id string) { l.change(id, func(*loss) bool { return true }) }

// suspect notes that a block is damaged. From now on views do without it; the flusher repairs it or moves it away.
func (db *DB) suspect(b *block.Block, err error) {
	m := b.Meta()
	db.losses.add(loss{id: m.ID, from: m.MinStart, to: max(m.MaxEnd, m.MaxStart), why: err, mayHave: b.MayHaveTrace})
	db.wakeFlusher()
}

// bytes returns what quarantine holds on disk.
func (l *losses) bytes() int64 {
	n := int64(0)
	for _, e := range l.load() {
		if e.moved {
			n += e.bytes
		}
	}
	return n
}

// lost notes that a block is in quarantine.
func (db *DB) lost(id string, why error) {
	n := loss{id: id, to: math.MaxUint64, why: why, moved: true}
	dir := filepath.Join(db.opts.Dir, quarantineDir, id)
	if m, err := block.ReadMeta(db.opts.FS, dir); err == nil {
		n.from, n.to = m.MinStart, max(m.MaxEnd, m.MaxStart)
	}
	n.bytes = tableBytes(db.opts.FS, dir)
	if mayHave, err := block.TraceFilter(db.opts.FS, dir); err == nil {
		n.mayHave = mayHave
	}
	db.losses.add(n)
	db.losses.change(id, func(l *loss) bool {
		l.moved, l.bytes = true, n.bytes
		return false
	})
}

// tableBytes returns the size of the files in a block's directory that count: those that its meta lists.
func tableBytes(fsys fsx.FS, dir string) int64 {
	list, err := fsys.ReadDir(dir)
	if err != nil {
		return 0 // A missing block takes nothing.
	}
	n := int64(0)
	for _, f := range list {
		if !block.IsDataFile(f.Name) {
			continue
		}
		if info, err := fsys.Stat(filepath.Join(dir, f.Name)); err == nil {
			n += info.Size
		}
	}
	return n
}

// openQuarantine notes what earlier runs have moved away.
func (db *DB) openQuarantine() error {
	dir := filepath.Join(db.opts.Dir, quarantineDir)
	list, err := db.opts.FS.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into quarantine: %w", err)
	}
	for _, e := range list {
		if !e.Dir || !manifest.ValidID(e.Name) {
			continue
		}
		reason, err := fsx.ReadFile(db.opts.FS, filepath.Join(dir, e.Name, reasonFile))
		if err != nil {
			reason = []byte("the reason was not noted")
		}
		db.lost(e.Name, errors.New(strings.TrimSpace(string(reason))))
	}
	return nil
}

// purgeQuarantine removes quarantined blocks that are too old, or as many as are in the way of what can be read: when
// the store is too large they go before any other. used are the bytes that count, with those of quarantine. It returns
// how many bytes are missing still.
func (db *DB) purgeQuarantine(used, missing int64) int64 {
	var items []retain.Item
	for _, l := range db.losses.load() {
		if l.moved {
			at := blockTime(l.id, db.now())
			if l.to != math.MaxUint64 {
				at = newestOf(l.to, at)
			}
			items = append(items, retain.Item{ID: l.id, Newest: at, Bytes: l.bytes})
		}
	}
	r := db.opts.Retention
	st := retain.State{Now: db.now(), Used: used, Missing: missing, Blocks: items}
	for _, d := range retain.Plan(retain.Limits{MaxAge: r.MaxAge, MaxBytes: r.sizeLimit()}, st) {
		if err := db.opts.FS.RemoveAll(filepath.Join(db.opts.Dir, quarantineDir, d.ID)); err != nil {
			call(db.opts.Listener.Error, fmt.Errorf("remove quarantined block %s: %w", d.ID, err))
			continue
		}
		db.losses.remove(d.ID)
		db.stats.quarantineFreed.Add(uint64(d.Bytes))
		missing -= d.Bytes
		call(db.opts.Listener.QuarantineDropped, QuarantineDropped{ID: d.ID, Reason: dropReasons[d.Reason], Bytes: d.Bytes})
	}
	return missing
}

// leaveOut returns the parts without damaged blocks.
func leaveOut(parts []store.Part, lost []loss) []store.Part {
	if len(lost) == 0 {
		return parts
	}
	return slices.DeleteFunc(slices.Clone(parts), func(p store.Part) bool {
		info := p.Info()
		return info.Kind == store.KindBlock && slices.ContainsFunc(lost, func(l loss) bool { return l.id == info.ID })
	})
}

var _ store.Incomplete = (*View)(nil)

// Missing says which damaged blocks with spans of the time range the view does without.
func (v *View) Missing(from, to uint64) string {
	if to == 0 {
		to = math.MaxUint64
	}
	return describe(v.lost, func(l *loss) bool { return l.from <= to && l.to >= from })
}

// missingOf says which damaged blocks may have had spans of a trace. One whose trace index is damaged, too, may have had
// spans of any.
func (v *View) missingOf(id spanid.TraceID) string {
	return describe(v.lost, func(l *loss) bool { return l.mayHave == nil || l.mayHave(id) })
}

func describe(lost []loss, concerns func(*loss) bool) string {
	n, first := 0, -1
	for i := range lost {
		if concerns(&lost[i]) {
			if n++; first < 0 {
				first = i
			}
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("spans are missing: block %s is damaged (%v)", lost[first].id, lost[first].why)
	}
	return fmt.Sprintf("spans are missing: %d blocks are damaged, the first is %s (%v)", n, lost[first].id, lost[first].why)
}
