package liveconfig

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Begin is called before each run of the Collector.
func (g *Guard) Begin() {
	g.Detach()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	g.failure = ""
	g.startedAt = time.Time{}
	g.ready = nil
}

// retiring is how the Collector begins the error of a reload that failed while the old service was stopped: the new
// configuration has not been tried then.
const retiring = "failed to shutdown the retiring config"

// End is called after a run that nobody asked to end; err is what it returned, nil if a component's fatal error ended
// it. It reports whether to run again, having waited and having pinned what to run with. Otherwise the process ends
// with err.
func (g *Guard) End(ctx context.Context, err error) (again bool) {
	g.Detach()
	g.mu.Lock()
	reason := "the service ended"
	if err != nil {
		reason = err.Error()
	}
	if g.failure != "" {
		reason = g.failure
	}
	wasRunning := g.running
	g.running = false
	switch {
	case !g.booted:
		kept := g.useKept(reason)
		g.mu.Unlock()
		return kept
	case g.onProbation() && err != nil && strings.Contains(err.Error(), retiring):
		g.log.Warn("The previous service did not stop cleanly; starting with the new configuration.", zap.Error(err))
		g.mu.Unlock()
		return true
	case g.onProbation():
		g.rollBack(reason)
		g.mu.Unlock()
		return true
	case err == nil && wasRunning:
		// A fatal error long after the last edit: nothing that going back would mend.
		g.mu.Unlock()
		return false
	}
	// The good configuration does not start: a port that is not free yet, a disk that is full. Another process would not do
	// better, but what the pause mends is mended without one.
	g.retries++
	n := g.retries
	g.log.Error("The configuration that ran before does not start; trying again.", zap.Int("try", n), zap.Error(err))
	g.mu.Unlock()
	if n > g.opts.Retries {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(n*n) * 100 * time.Millisecond):
		return true
	}
}

// useKept pins the kept copy after a failed start. g.mu is held.
func (g *Guard) useKept(reason string) bool {
	if g.fromKept {
		return false // It does not start either.
	}
	kept, path, err := loadKept(g.opts.Directories, g.keys())
	if err != nil {
		if !errors.Is(err, errNoKept) {
			g.log.Warn("There is no usable copy of an earlier configuration.", zap.Error(err))
		}
		return false
	}
	bad := g.pinned
	if kept.Set.equal(bad) {
		return false
	}
	g.fromKept = true
	// The hash of what the sources hold as a whole is not known if one of them could not be read: the loop finds out.
	g.refused, g.trouble = "", true
	g.pinned = kept.Set
	g.record(Record{Hash: bad.Hash(), Outcome: Rejected, Reason: reason})
	g.keptNotice = func(log *zap.Logger) {
		log.Error("THE CONFIGURATION IS BAD. Started with the copy of the last good one instead. Mend the configuration: it is applied as soon as it is good.",
			zap.String("reason", reason), zap.String("copy", path), zap.Time("kept_at", kept.Time))
	}
	return true
}

// keys lists the sources known so far. g.mu is held.
func (g *Guard) keys() []string {
	out := make([]string, 0, len(g.sources))
	for k := range g.sources {
		out = append(out, k)
	}
	return out
}

// look is one look at the sources' state: their contents and their hash. The error is that of the first source that
// could not be read, which then is part of the hash.
func look(ctx context.Context, sources map[string]Source) (Set, string, error) {
	set := make(Set, len(sources))
	var firstErr error
	for k, s := range sources {
		b, err := s.Read(ctx)
		if err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		set[k] = b
	}
	if firstErr != nil {
		return nil, "unreadable " + HashBytes([]byte(firstErr.Error())), firstErr
	}
	return set, set.Hash(), nil
}
