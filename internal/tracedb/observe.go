package tracedb

import (
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
)

var _ store.Notifier = (*DB)(nil)

// observer is an Observer with what is needed to take it away while it may be running.
type observer struct {
	store.Observer
	mu   sync.RWMutex
	gone bool
}

// Observe adds an observer of accepted batches until cancel is called, which waits for running calls. Batches that
// Open reads back from the log were accepted before and are not told again.
func (db *DB) Observe(o store.Observer) (cancel func()) {
	entry := &observer{Observer: o}
	db.changeObservers(func(list []*observer) []*observer { return append(list, entry) })
	return func() {
		db.changeObservers(func(list []*observer) []*observer {
			return slices.DeleteFunc(list, func(e *observer) bool { return e == entry })
		})
		entry.mu.Lock()
		defer entry.mu.Unlock()
		entry.gone = true
	}
}

// changeObservers replaces the list by a changed copy.
func (db *DB) changeObservers(f func([]*observer) []*observer) {
	db.mu.Lock()
	defer db.mu.Unlock()
	var list []*observer
	if p := db.observers.Load(); p != nil {
		list = slices.Clone(*p)
	}
	list = f(list)
	db.observers.Store(&list)
}

// accepted tells all observers of a batch.
func (db *DB) accepted(b *store.Batch) {
	p := db.observers.Load()
	if p == nil {
		return
	}
	for _, o := range *p {
		o.mu.RLock()
		if !o.gone {
			o.Accepted(b)
		}
		o.mu.RUnlock()
	}
}
