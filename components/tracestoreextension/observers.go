package tracestoreextension

import (
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
)

// observers is the set of those who are told of accepted batches. Readers hold the lock while they call, so that
// removing one waits for the calls that are running.
type observers struct {
	mu  sync.RWMutex
	all []*observerEntry
}

type observerEntry struct{ store.Observer }

func (o *observers) add(obs store.Observer) (cancel func()) {
	e := &observerEntry{obs}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, e)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all = slices.DeleteFunc(o.all, func(x *observerEntry) bool { return x == e })
	}
}

func (o *observers) accepted(b *store.Batch) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, e := range o.all {
		e.Accepted(b)
	}
}
