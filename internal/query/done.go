package query

import (
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Done describes a query that has ended, for logs and metrics.
type Done struct {
	// Kind is trace, search, tags, values, range or instant.
	Kind               string
	Query, Client      string
	StartNano, EndNano uint64
	// Wait is how long it waited for its turn, Took how long it then ran.
	Wait, Took time.Duration
	// EstimatedSpans is how many spans the parts of the store hold that overlap the time range; Stats is what was looked
	// at in the end.
	EstimatedSpans uint64
	Stats          Stats
	Err            error
}

// OnDone sets a function that is told of every query that was admitted or refused. It must be set before the first
// query and is called concurrently; it must not block.
func (s *Service) OnDone(f func(Done)) { s.done = f }

// estimate counts the spans in parts that overlap the range.
func (d *Done) estimate(v store.View) {
	for _, p := range v.Parts() {
		i := p.Info()
		if d.EndNano > 0 && i.MinStartNano > d.EndNano || i.MaxEndNano < d.StartNano && i.MaxStartNano < d.StartNano {
			continue
		}
		d.EstimatedSpans += uint64(max(0, i.Rows))
	}
}
