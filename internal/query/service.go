package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Limits bounds what queries may cost. Zero values mean those of DefaultLimits, unless a line says otherwise.
type Limits struct {
	// MaxTraceBytes is the size at which a trace is cut. 0 means no limit.
	MaxTraceBytes int64
	// Timeout is how long one query may wait and run.
	Timeout time.Duration
	// Concurrency is how many searches run at the same time; as many lookups of single traces may run besides them. One
	// client gets at most all but one of the places.
	Concurrency int
	// Queue is how many searches may wait for their turn; further ones are refused.
	Queue int
	// Memory is how many bytes all queries together may use for what they collect, and QueryMemory how many one may. 0
	// means the default; QueryMemory is half of Memory then.
	Memory, QueryMemory int64
	// MaxTagBytes is the size at which lists of names and of values are cut.
	MaxTagBytes int
	// MaxSearchRange and MaxMetricsRange bound the time range of one query. 0 means no limit.
	MaxSearchRange, MaxMetricsRange time.Duration
	// StreamInterval is the least time between two interim answers of a stream.
	StreamInterval time.Duration
	// Slow is how long a query takes that is worth an estimate in its Done. 0 means that none is.
	Slow time.Duration
}

// DefaultLimits returns what is right for a node that also ingests. A search uses several cores by itself; more of them
// at a time only keep a long one from blocking the others.
func DefaultLimits() Limits {
	return Limits{
		MaxTraceBytes: 50 << 20,
		Timeout:       time.Minute,
		Concurrency:   max(4, 2*runtime.GOMAXPROCS(0)),
		Queue:         200,
		Memory:        256 << 20,
		QueryMemory:   128 << 20,
		MaxTagBytes:   1 << 20, // G-06
		// Tempo's values, which clients know (S-07, M-03).
		MaxSearchRange:  168 * time.Hour,
		MaxMetricsRange: 24 * time.Hour,
		StreamInterval:  500 * time.Millisecond,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Timeout <= 0 {
		l.Timeout = d.Timeout
	}
	if l.Concurrency <= 0 {
		l.Concurrency = d.Concurrency
	}
	if l.Queue <= 0 {
		l.Queue = d.Queue
	}
	if l.MaxTagBytes <= 0 {
		l.MaxTagBytes = d.MaxTagBytes
	}
	if l.Memory <= 0 {
		l.Memory = d.Memory
	}
	if l.QueryMemory <= 0 {
		l.QueryMemory = max(1, l.Memory/2)
	}
	if l.StreamInterval <= 0 {
		l.StreamInterval = d.StreamInterval
	}
	return l
}

// Service runs queries against one store.
type Service struct {
	store  store.Viewer
	limits Limits
	// Lookups of single traces have places of their own: they are cheap, and a user who clicks on a trace should not
	// wait for someone's search.
	lookups, scans *admission
	// Queries of other agents have places of their own too; see ServePeer.
	remote     *admission
	memory     *memlimit.Budget
	done       func(Done)
	federation Federation
	alone      atomic.Pointer[string]
	// scattered says that most traces of the last search were split over agents.
	scattered atomic.Bool
	strays    *strays
	hope      hope
	// sliceSpans is the constant of that name; tests have fewer spans.
	sliceSpans int64
}

// lookupQueue is how many times more lookups than searches may wait: they take milliseconds each.
const lookupQueue = 20

// New returns a service over the store, which it does not own.
func New(s store.Viewer, l Limits) *Service {
	l = l.withDefaults()
	return &Service{
		store:   s,
		limits:  l,
		lookups: newAdmission(l.Concurrency, lookupQueue*l.Queue),
		scans:   newAdmission(l.Concurrency, l.Queue),
		remote:  newAdmission(l.Concurrency, lookupQueue*l.Queue),
		memory:  memlimit.New("memory of queries", l.Memory),
		strays:  newStrays(),

		sliceSpans: sliceSpans,
	}
}

// Limits returns the limits in force.
func (s *Service) Limits() Limits { return s.limits }

// Load is how busy the service is.
type Load struct{ Lookups, WaitingLookups, Scans, WaitingScans int }

// Load returns how busy the service is now.
func (s *Service) Load() Load {
	var l Load
	l.Lookups, l.WaitingLookups = s.lookups.load()
	l.Scans, l.WaitingScans = s.scans.load()
	return l
}

// Drain refuses new and waiting queries and waits until the running ones have ended or ctx has.
func (s *Service) Drain(ctx context.Context) error {
	for _, idle := range []<-chan struct{}{s.lookups.close(), s.scans.close(), s.remote.close()} {
		select {
		case <-idle:
		case <-ctx.Done():
			l := s.Load()
			return fmt.Errorf("wait for %d running queries: %w", l.Lookups+l.Scans, context.Cause(ctx))
		}
	}
	return nil
}

// run waits for a place, acquires a view and calls f with a context that ends when the query may not go on and with a
// budget of its own. d describes the query; d.Client is who asks, for fairness.
func (s *Service) run(ctx context.Context, a *admission, d *Done, f func(ctx context.Context, v store.View, budget *memlimit.Budget) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limits.Timeout,
		fmt.Errorf("%w: the limit is %s; ask for a shorter time range or more selective conditions", ErrTimeout, s.limits.Timeout))
	defer cancel()
	d.begin = time.Now()
	err := a.acquire(ctx, d.Client)
	admitted := time.Now()
	if err == nil {
		err = s.admitted(ctx, a, d, f)
	}
	if s.done != nil {
		d.Wait, d.Took, d.Err = admitted.Sub(d.begin), time.Since(admitted), err
		s.done(*d)
	}
	return err
}

// admitted runs a query that has a place, and gives the place back. A query that meets a damaged part of the store is run
// again without it: a view leaves out what is known to be damaged.
func (s *Service) admitted(ctx context.Context, a *admission, d *Done, f func(ctx context.Context, v store.View, budget *memlimit.Budget) error) error {
	d.place = &place{in: a, client: d.Client}
	defer d.place.leave()
	for before := ""; ; {
		v, err := s.store.View()
		if err != nil {
			return fmt.Errorf("open a view of the store: %w", err)
		}
		known := missing(v, 0, 0)
		d.Missing = missing(v, d.StartNano, d.EndNano)
		err = f(ctx, v, s.memory.Share("memory of the query", s.limits.QueryMemory))
		if s.done != nil && s.limits.Slow > 0 && time.Since(d.begin) >= s.limits.Slow {
			d.estimate(ctx, v)
		}
		v.Release()
		var corrupt *store.CorruptionError
		if err == nil || !errors.As(err, &corrupt) || ctx.Err() != nil || known == before && before != "" {
			return cause(ctx, err)
		}
		before = known
	}
}

// missing says what a view knows that it cannot show of a time range.
func missing(v store.View, from, to uint64) string {
	if i, ok := v.(store.Incomplete); ok {
		return i.Missing(from, to)
	}
	return ""
}

// cause replaces the bare error of an ended context, which says nothing, by the reason why it ended.
func cause(ctx context.Context, err error) error {
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}
