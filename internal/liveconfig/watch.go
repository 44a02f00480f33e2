package liveconfig

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.uber.org/zap"
)

// loop looks at the sources until ctx ends.
func (g *Guard) loop(ctx context.Context) {
	defer close(g.done)
	t := time.NewTicker(g.opts.Interval)
	defer t.Stop()
	var w watchState
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-g.wake:
		}
		g.confirm()
		g.tick(ctx, &w)
	}
}

// watchState is what the loop remembers between looks.
type watchState struct {
	hash  string // of the last look
	first time.Time
	tries int
}

// maxCheckTries is how often a candidate is given to a checker that cannot judge.
const maxCheckTries = 3

// unreadableFor is how long a source may be unreadable, as in the middle of a replacement, before that is a verdict.
const unreadableFor = 3 * time.Second

// tick looks once, and judges what has settled.
func (g *Guard) tick(ctx context.Context, w *watchState) {
	g.mu.Lock()
	idle := g.notify == nil || g.startedAt.IsZero()
	sources := maps.Clone(g.sources)
	pinned, refused := g.pinned, g.refused
	g.mu.Unlock()
	if idle || len(sources) == 0 {
		return
	}
	_, hash, err := look(ctx, sources)
	if hash != w.hash {
		*w = watchState{hash: hash, first: time.Now()}
		if hash == pinned.only(sources).Hash() {
			g.settled()
			return
		}
		if err := sleep(ctx, g.opts.Settle); err != nil {
			return
		}
		// Look again at once: a settled edit need not wait for the next interval.
		if _, again, _ := look(ctx, sources); again != hash {
			return
		}
	}
	switch {
	case hash == pinned.only(sources).Hash():
		g.settled()
	case hash == refused:
	case err != nil && !errors.Is(err, ErrSourceTooLarge) && time.Since(w.first) < unreadableFor:
	case err != nil:
		g.reject(Record{Hash: hash, Outcome: Rejected, Reason: err.Error(), Took: time.Since(w.first)})
	default:
		g.judge(ctx, w, sources, hash)
	}
}

// only returns the part of the set that comes from the given sources.
func (s Set) only(sources map[string]Source) Set {
	out := make(Set, len(sources))
	for k := range sources {
		if b, ok := s[k]; ok {
			out[k] = b
		}
	}
	return out
}

// settled notes that the sources hold what runs.
func (g *Guard) settled() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trouble && !g.fromKept {
		g.log.Info("The configuration is again the one that runs.", zap.String("hash", g.pinned.Hash()))
	}
	g.trouble, g.refused = false, ""
}

// judge has a candidate checked and applies or rejects it.
func (g *Guard) judge(ctx context.Context, w *watchState, sources map[string]Source, hash string) {
	v := Verdict{OK: true}
	if g.opts.Checker != nil {
		var err error
		if v, err = g.opts.Checker.Check(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			if w.tries++; w.tries < maxCheckTries {
				g.Logger().Warn("The new configuration could not be checked; trying again.", zap.Error(err))
				return
			}
			v = Verdict{Reason: fmt.Sprintf("it could not be checked: %v", err)}
		}
	}
	r := Record{Hash: hash, Reason: v.Reason, Skipped: v.Skipped, Took: time.Since(w.first)}
	if !v.OK {
		r.Outcome = Rejected
		g.reject(r)
		return
	}
	// The bytes that are pinned must be those that were checked.
	set, err := readChecked(ctx, sources, v.Sources)
	if err != nil {
		g.Logger().Info("The configuration changed while it was checked.", zap.Error(err))
		*w = watchState{}
		return
	}
	g.apply(set, v, r)
}

// readChecked reads the sources that were checked and compares them with the hashes that the checker saw. Sources that
// the candidate does not name any more are left out; those that it names for the first time are files.
func readChecked(ctx context.Context, sources map[string]Source, hashes map[string]string) (Set, error) {
	if hashes == nil {
		set, _, err := look(ctx, sources)
		return set, err
	}
	set := make(Set, len(hashes))
	for key, want := range hashes {
		s, ok := sources[key]
		if !ok {
			s = File(key)
		}
		b, err := s.Read(ctx)
		if err != nil {
			return nil, err
		}
		if HashBytes(b) != want {
			return nil, fmt.Errorf("%s is not what was checked", key)
		}
		set[key] = b
	}
	return set, nil
}

func (g *Guard) reject(r Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused, g.trouble = r.Hash, true
	g.record(r)
	g.log.Error("The new configuration was rejected. The running one is not changed.",
		zap.String("reason", r.Reason), zap.String("hash", r.Hash))
}

func (g *Guard) apply(set Set, v Verdict, r Record) {
	g.mu.Lock()
	effective := Redact(v.Effective)
	if v.Effective != nil && g.effective != nil {
		r.Changes = Diff(g.effective, effective)
	}
	r.Outcome = Applied
	// What runs now has started, so it is what to go back to.
	g.good, g.goodEffective = g.pinned, g.effective
	g.pinned, g.effective = set, effective
	g.sources = sourcesOf(g.sources, set)
	g.confirmed, g.refused, g.trouble, g.fromKept, g.failure = false, "", false, false, ""
	g.since = time.Now()
	g.record(r)
	fields := []zap.Field{zap.String("hash", r.Hash), zap.Strings("changes", lines(r.Changes)), zap.Duration("after", r.Took)}
	if v.Skipped != "" {
		fields = append(fields, zap.String("check_skipped", v.Skipped))
	}
	if len(v.Warnings) > 0 {
		fields = append(fields, zap.Strings("warnings", v.Warnings))
	}
	g.log.Info("Applying the new configuration.", fields...)
	notify := g.takeNotify(true)
	g.startedAt = time.Time{}
	g.readAt = time.Now()
	g.mu.Unlock()
	g.call(notify)
}

func sourcesOf(known map[string]Source, set Set) map[string]Source {
	out := make(map[string]Source, len(set))
	for k := range set {
		if s, ok := known[k]; ok {
			out[k] = s
		} else {
			out[k] = File(k)
		}
	}
	return out
}

// maxChangesLogged bounds a log line.
const maxChangesLogged = 40

func lines(changes []Change) []string {
	out := make([]string, 0, min(len(changes), maxChangesLogged)+1)
	for i, c := range changes {
		if i == maxChangesLogged {
			return append(out, fmt.Sprintf("and %d more", len(changes)-i))
		}
		out = append(out, c.String())
	}
	return out
}

// confirm ends the probation of a set that has run long enough.
func (g *Guard) confirm() {
	g.mu.Lock()
	if g.startedAt.IsZero() && g.notify != nil && !g.readAt.IsZero() && time.Since(g.readAt) >= g.opts.Startup {
		g.started(nil) // Nobody tells, and the run has not ended.
	}
	if g.startedAt.IsZero() || g.confirmed || time.Since(g.startedAt) < g.opts.Probation {
		g.mu.Unlock()
		return
	}
	ready := g.ready
	g.mu.Unlock()
	if ready != nil {
		if err := ready(); err != nil {
			g.Fail(fmt.Sprintf("not ready %s after the start: %v", g.opts.Probation, err), false)
			return
		}
	}
	g.mu.Lock()
	g.confirmed = true
	g.good, g.goodEffective = g.pinned, g.effective
	set, dir := g.pinned, storeDirectory(g.effective)
	g.mu.Unlock()
	if dir == "" {
		return
	}
	if err := saveKept(dir, set); err != nil {
		g.Logger().Warn("The configuration could not be kept for the next start.", zap.Error(err))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
