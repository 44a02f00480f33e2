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
	// linger is how long what a client still sends is read and dropped after it was told to send again: a connection that is
	// closed with bytes unread is reset, and the client may not see the answer.
	linger = 500 * time.Millisecond
)

// gate leads requests to the handler that has its turn.
type gate struct {
	wait, patience time.Duration

	mu sync.Mutex
	// current is nil between two handlers.
	current *generation
	waiting map[*request]struct{} // for a handler
	ended   bool                  // nobody will come any more
	refuse  http.Handler          // of the last generation
}

// generation is one handler.
type generation struct {
	handler  http.Handler
	requests map[*request]struct{} // in progress; guarded by gate.mu
	leaving  bool
	idle     chan struct{} // closed when it is leaving and nothing is in progress
}

// request is one that waits or is in progress.
type request struct {
	g      *gate
	gen    *generation   // nil while it waits; guarded by gate.mu until called is closed
	called chan struct{} // closed when its turn has come; nil if it came at once
	w      http.ResponseWriter
	cancel context.CancelCauseFunc
	read   bool // the body, to its end; guarded by gate.mu
	cut    bool // guarded by gate.mu
}

func newGate() *gate {
	return &gate{wait: waitForHandler, patience: patience, waiting: make(map[*request]struct{})}
}

// open lets requests through to a handler. refuse answers those that found none.
func (g *gate) open(handler, refuse http.Handler) *generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	gen := &generation{handler: handler, requests: make(map[*request]struct{}), idle: make(chan struct{})}
	g.current, g.refuse = gen, refuse
	for r := range g.waiting { // Here, so that none misses the turn, however short it is.
		r.gen = gen
		gen.requests[r] = struct{}{}
		close(r.called)
	}
	clear(g.waiting)
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
			r.cut = true
			r.cancel(ErrReloading)
			_ = http.NewResponseController(r.w).SetReadDeadline(time.Unix(1, 0)) // Without deadlines the context must do.
		}
	}
}

// end refuses requests that wait, and those that come.
func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for r := range g.waiting {
		close(r.called)
	}
	clear(g.waiting)
}

// enter waits for a handler, which r.gen is then. ok is false if there is none in time.
func (g *gate) enter(ctx context.Context, r *request) (ok bool) {
	g.mu.Lock()
	if g.ended || g.current != nil {
		defer g.mu.Unlock()
		if g.ended {
			return false
		}
		r.gen = g.current
		r.gen.requests[r] = struct{}{}
		return true
	}
	r.called = make(chan struct{})
	g.waiting[r] = struct{}{}
	g.mu.Unlock()
	timeout := time.NewTimer(g.wait)
	defer timeout.Stop()
	select {
	case <-r.called:
	case <-timeout.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, r)
	return r.gen != nil // It may have been called at the same moment.
}

// leave ends a request, and reports whether it was cut off.
func (r *request) leave() bool {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	delete(r.gen.requests, r)
	if r.gen.leaving && len(r.gen.requests) == 0 {
		close(r.gen.idle)
	}
	return r.cut
}

// drop sends the answer and reads what the client still sends, for a short time.
func drop(w http.ResponseWriter, body io.Reader) {
	c := http.NewResponseController(w)
	if c.Flush() == nil && c.SetReadDeadline(time.Now().Add(linger)) == nil {
		_, _ = io.Copy(io.Discard, body) // It ends with an error, or the client has sent all.
	}
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	bodiless := r.Body == http.NoBody
	in := &request{g: g, w: w, cancel: cancel, read: bodiless}
	if !g.enter(ctx, in) {
		g.mu.Lock()
		refuse := g.refuse
		g.mu.Unlock()
		w.Header().Set("Connection", "close") // Whoever listens next has not these connections.
		refuse.ServeHTTP(w, r)
		drop(w, r.Body)
		return
	}
	rest := r.Body
	defer func() {
		if in.leave() {
			drop(w, rest)
		}
	}()
	r = r.WithContext(ctx)
	if !bodiless {
		r.Body = &body{ReadCloser: rest, in: in}
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
