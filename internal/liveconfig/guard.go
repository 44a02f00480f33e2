package liveconfig

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Guard decides which configuration the process runs with. It is safe for concurrent use.
type Guard struct {
	opts Options

	mu      sync.Mutex
	log     *zap.Logger
	sources map[string]Source // by key: all that the running set is read from
	pinned  Set               // what the Collector is given
	good    Set               // what to go back to; nil before the first service has started
	refused string            // hash of a set that is not to be tried again; empty if none
	trouble bool              // the sources hold something that is refused

	running  bool
	booted   bool // a service has started in this process
	fromKept bool // the process started with the kept copy
	// keptNotice tells of that once there is a service to log it: what is logged between two runs is not seen.
	keptNotice func(*zap.Logger)
	notify     func()
	readAt     time.Time // when the Collector last began to read
	startedAt  time.Time // zero until the service has started
	confirmed  bool      // the pinned set has passed its probation
	failure    string    // what a component reported in this run
	ready      func() error
	retries    int

	effective     map[string]any // of the pinned set
	goodEffective map[string]any
	since         time.Time
	history       []Record
	counts        map[Outcome]int64

	// calling is held while notify runs, so that a provider can wait for it.
	calling sync.Mutex

	wake   chan struct{} // holds at most one wish to look now
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns a guard that is watching. Close ends it.
func New(opts Options) *Guard {
	opts.setDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	g := &Guard{
		opts: opts, log: opts.Logger, sources: map[string]Source{}, pinned: Set{}, counts: map[Outcome]int64{},
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go g.loop(ctx)
	return g
}

// Close ends watching and waits for it.
func (g *Guard) Close() {
	g.cancel()
	<-g.done
}

// SetLogger replaces the logger, when a run has one of its own.
func (g *Guard) SetLogger(l *zap.Logger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = l
}

// Logger returns the logger of the current run.
func (g *Guard) Logger() *zap.Logger {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log
}

// Read returns the pinned content of a source, reading it from the source itself the first time. notify is called at
// most once, when the Collector is to read everything again; it replaces that of earlier calls.
func (g *Guard) Read(ctx context.Context, s Source, notify func()) ([]byte, error) {
	key := s.Key()
	g.mu.Lock()
	g.notify = notify
	g.readAt, g.startedAt = time.Now(), time.Time{}
	g.sources[key] = s // A provider of a later run brings a source of its own for the same place.
	b, pinned := g.pinned[key]
	g.mu.Unlock()
	if pinned {
		return b, nil
	}
	b, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// A set is never changed: others may hold it.
	g.pinned = maps.Clone(g.pinned)
	g.pinned[key] = b
	return b, nil
}

// Detach forgets what the providers of the current run registered, and waits for a running call of it. A provider
// calls it when it is shut down.
func (g *Guard) Detach() {
	g.mu.Lock()
	g.notify = nil
	g.mu.Unlock()
	g.calling.Lock()
	defer g.calling.Unlock()
}

// Wake makes the guard look at the sources now; for sources that know when they change.
func (g *Guard) Wake() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Started is told by an extension that all pipelines run. ready is asked at the end of the probation.
func (g *Guard) Started(ready func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started(ready)
}

// started notes that the service runs. g.mu is held.
func (g *Guard) started(ready func() error) {
	g.startedAt, g.ready, g.running, g.retries = time.Now(), ready, true, 0
	if !g.booted {
		g.booted = true
		g.good, g.goodEffective = g.pinned, g.effective
		g.since = g.startedAt
		outcome := Booted
		if g.fromKept {
			outcome = BootedLast
			g.keptNotice(g.log)
		}
		g.record(Record{Hash: g.pinned.Hash(), Outcome: outcome})
	}
}

// SetEffective tells the running configuration after expansion, secrets hidden.
func (g *Guard) SetEffective(m map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.effective = Redact(m)
	if g.good.equal(g.pinned) {
		g.goodEffective = g.effective
	}
}

// Fail is told by an extension that a component has failed for good. fatal says that the Collector ends its run by
// itself. Within the probation it leads back to the good set, later it is the Collector's own matter.
func (g *Guard) Fail(reason string, fatal bool) {
	g.mu.Lock()
	g.failure = reason
	back := !fatal && g.onProbation()
	if back {
		g.rollBack(reason)
	}
	notify := g.takeNotify(back)
	g.mu.Unlock()
	g.call(notify)
}

// onProbation reports whether the pinned set may still be rolled back. g.mu is held.
func (g *Guard) onProbation() bool { return g.good != nil && !g.confirmed && !g.good.equal(g.pinned) }

// rollBack makes the good set the pinned one. g.mu is held.
func (g *Guard) rollBack(reason string) {
	bad := g.pinned.Hash()
	changes := Diff(g.goodEffective, g.effective)
	g.refused, g.trouble = bad, true
	g.pinned, g.effective = g.good, g.goodEffective
	g.confirmed = true
	g.since = time.Now()
	g.log.Error("The new configuration was rolled back: it failed when it ran. The previous one is used until the files change.",
		zap.String("reason", reason), zap.String("hash", bad))
	g.record(Record{Hash: bad, Outcome: RolledBack, Reason: reason, Changes: changes})
}

// takeNotify returns the callback to use now, which is then used up. g.mu is held.
func (g *Guard) takeNotify(want bool) func() {
	if !want {
		return nil
	}
	n := g.notify
	g.notify = nil
	return n
}

func (g *Guard) call(notify func()) {
	if notify == nil {
		return
	}
	g.calling.Lock()
	defer g.calling.Unlock()
	notify()
}

// record adds a line to the history. g.mu is held.
func (g *Guard) record(r Record) {
	r.Time = time.Now()
	g.history = append(g.history, r)
	if len(g.history) > historyLength {
		g.history = slices.Delete(g.history, 0, len(g.history)-historyLength)
	}
	g.counts[r.Outcome]++
	if g.opts.OnRecord != nil {
		g.opts.OnRecord(r)
	}
}

// Status returns a copy of what is known.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Status{
		Hash: g.pinned.Hash(), Sources: slices.Sorted(maps.Keys(g.pinned)), Effective: g.effective, OK: !g.trouble,
		Since: g.since, Probation: g.onProbation(), Counts: maps.Clone(g.counts), History: slices.Clone(g.history),
	}
}

// equal compares by content.
func (s Set) equal(o Set) bool {
	return (s == nil) == (o == nil) && len(s) == len(o) && s.Hash() == o.Hash()
}
