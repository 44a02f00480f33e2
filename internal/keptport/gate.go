package keptport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// ErrReloading is the cause of a request's context (context.Cause) when its body was cut off because the component stops:
// the client did not send the rest of it in time. It is to be told to send again.
var ErrReloading = errors.New("the configuration is being reloaded: send again")

const (
	// waitForHandler is how long a request waits for the next handler. A reload takes a fraction of a second, a failed one
	// that is rolled back, seconds. OpenTelemetry's SDKs wait ten seconds for an answer.
	waitForHandler = 5 * time.Second
	// patience is how long a request may go on sending its body when its handler is to end.
	patience = time.Second
)

// gate leads requests to the handler that has its turn.
type gate struct {
	wait, patience time.Duration

	mu sync.Mutex
	// current is nil between two handlers.
	current *generation
	// changed is closed when a handler comes, or nobody will come any more.
	changed chan struct{}
	waiting int // requests, for a handler
	ended   bool
	refuse  http.Handler // of the last generation
}

// generation is one handler.
type generation struct {
	handler  http.Handler
	requests map[*request]struct{} // in progress; guarded by gate.mu
	leaving  bool
	idle     chan struct{} // closed when it is leaving and nothing is in progress
}

// request is one in progress.
type request struct {
	g      *gate
	gen    *generation
	w      http.ResponseWriter
	cancel context.CancelCauseFunc
	read   bool // the body, to its end; guarded by gate.mu
}

func newGate() *gate {
	return &gate{wait: waitForHandler, patience: patience, changed: make(chan struct{})}
}

// open lets requests through to a handler. refuse answers those that found none.
func (g *gate) open(handler, refuse http.Handler) *generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	gen := &generation{handler: handler, requests: make(map[*request]struct{}), idle: make(chan struct{})}
	g.current, g.refuse = gen, refuse
	close(g.changed)
	g.changed = make(chan struct{})
	return gen
}

// shut makes new requests wait for another handler, and returns when those in progress have been answered, or when ctx
// ends, with its error.
func (g *gate) shut(ctx context.Context, gen *generation) error {
	g.mu.Lock()
	if g.current == gen {
		g.current = nil
	}
	if !gen.leaving {
		gen.leaving = true
		if len(gen.requests) == 0 {
			close(gen.idle)
		}
	}
	g.mu.Unlock()
	patience := time.NewTimer(g.patience)
	defer patience.Stop()
	for {
		select {
		case <-gen.idle:
			return nil
		case <-patience.C:
			g.cut(gen)
		case <-ctx.Done():
			g.cut(gen)
			return ctx.Err()
		}
	}
}

// cut ends the reading of bodies. What has been read is left to its handler.
func (g *gate) cut(gen *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for r := range gen.requests {
		if !r.read {
			r.cancel(ErrReloading)
			_ = http.NewResponseController(r.w).SetReadDeadline(time.Unix(1, 0)) // Without deadlines the context must do.
		}
	}
}

// end refuses requests that wait, and those that come.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.ended = true
		close(g.changed)
	}
}

// enter waits for a handler and gives it to r. It returns nil if there is none in time.
func (g *gate) enter(ctx context.Context, r *request) *request {
	var timeout *time.Timer
	for {
		g.mu.Lock()
		if g.ended {
			g.mu.Unlock()
			return nil
		}
		if gen := g.current; gen != nil {
			r.gen = gen
			gen.requests[r] = struct{}{}
			g.mu.Unlock()
			return r
		}
		changed := g.changed
		g.waiting++
		g.mu.Unlock()
		if timeout == nil {
			timeout = time.NewTimer(g.wait)
			defer timeout.Stop()
		}
		late := false
		select {
		case <-changed:
		case <-timeout.C:
			late = true
		case <-ctx.Done():
			late = true
		}
		g.mu.Lock()
		g.waiting--
		g.mu.Unlock()
		if late {
			return nil
		}
	}
}

func (r *request) leave() {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	delete(r.gen.requests, r)
	if r.gen.leaving && len(r.gen.requests) == 0 {
		close(r.gen.idle)
	}
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	bodiless := r.Body == http.NoBody
	in := g.enter(ctx, &request{g: g, w: w, cancel: cancel, read: bodiless})
	if in == nil {
		g.mu.Lock()
		refuse := g.refuse
		g.mu.Unlock()
		w.Header().Set("Connection", "close") // Whoever listens next has not these connections.
		refuse.ServeHTTP(w, r)
		return
	}
	defer in.leave()
	r = r.WithContext(ctx)
	if !bodiless {
		r.Body = &body{ReadCloser: r.Body, in: in}
	}
	in.gen.handler.ServeHTTP(w, r)
}

// body notes when the body of a request has been read.
type body struct {
	io.ReadCloser
	in   *request
	done bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.done {
		b.done = true
		b.in.g.mu.Lock()
		b.in.read = true
		b.in.g.mu.Unlock()
	}
	return n, err
}
