package query

import (
	"context"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// Done describes a query that has ended, for logs and metrics.
type Done struct {
	// Kind is trace, search, tags, values, range, instant or delete.
	Kind               string
	Query, Client      string
	StartNano, EndNano uint64
	// Wait is how long it waited for its turn, Took how long it then ran.
	Wait, Took time.Duration
	// Estimate is what the query had to look at by what was known before reading, and Stats what it did look at. Only
	// queries that took at least Limits.Slow have an estimate.
	Estimate Estimate
	Stats    Stats
	// Missing says what of the store the query had to do without because it is damaged; empty if nothing.
	Missing string
	Err     error

	begin time.Time
	place *place
	plan  *plan.Query // Of TraceQL; nil for others.
}

// Estimate is what a query would have to look at. A search with a limit mostly stops earlier.
type Estimate struct {
	Parts, Granules int
	Spans, Bytes    int64
}

// OnDone sets a function that is told of every query that was admitted or refused. It must be set before the first
// query and is called concurrently; it must not block.
func (s *Service) OnDone(f func(Done)) { s.done = f }

// estimate fills in the estimate.
func (d *Done) estimate(ctx context.Context, v store.View) {
	if d.plan != nil {
		// The query has ended, perhaps because its context did; the estimate reads nothing but what is in memory.
		c, err := exec.Estimate(context.WithoutCancel(ctx), v, d.plan, clampNano(d.StartNano), clampNano(d.EndNano))
		if err == nil {
			d.Estimate = Estimate{Parts: c.Parts, Granules: c.Granules, Spans: c.Rows, Bytes: c.Bytes}
			return
		}
	}
	for _, p := range v.Parts() {
		i := p.Info()
		if d.EndNano > 0 && i.MinStartNano > d.EndNano || i.MaxEndNano < d.StartNano && i.MaxStartNano < d.StartNano {
			continue
		}
		d.Estimate.Parts++
		d.Estimate.Granules += i.Granules()
		d.Estimate.Spans += int64(max(0, i.Rows))
		d.Estimate.Bytes += i.Bytes
	}
}
