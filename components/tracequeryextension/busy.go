package tracequeryextension

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// busyConns knows which connections have requests in progress. http.Server.Shutdown waits a second longer than that for
// HTTP/2 connections, in which nobody is served, neither here nor by the successor after a reload.
type busyConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// fresh are those whose first request has not begun to arrive: it may be on its way.
	fresh map[net.Conn]struct{}
	// quiet is told when nothing is busy, begun when nothing is fresh. One waits for each at a time.
	quiet, begun signal
}

// freshWait is how long the first request of a connection that was just made may be on its way.
const freshWait = 100 * time.Millisecond

// observe is an http.Server.ConnState hook. HTTP/2 connections become idle when the last byte of their last stream is
// written.
func (b *busyConns) observe(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		b.conns, b.fresh = make(map[net.Conn]struct{}), make(map[net.Conn]struct{})
	}
	delete(b.fresh, c)
	delete(b.conns, c)
	switch s {
	case http.StateNew:
		b.fresh[c] = struct{}{}
	case http.StateActive:
		b.conns[c] = struct{}{}
	}
	b.settle()
}

// settle tells who waits. b.mu is held.
func (b *busyConns) settle() {
	if len(b.fresh) == 0 {
		b.begun.tell()
	}
	if len(b.conns) == 0 {
		b.quiet.tell()
	}
}

// wait returns when no connection is busy, or when ctx ends, with its cause.
func (b *busyConns) wait(ctx context.Context) error { return b.await(ctx, &b.quiet) }

// waitFresh returns when the first request of every connection has begun to arrive, or after freshWait. A server that is
// told to shut down closes a connection on which it then reads its first request, without an answer.
func (b *busyConns) waitFresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	_ = b.await(ctx, &b.begun) // What is not on its way by then is not waited for.
}

func (b *busyConns) await(ctx context.Context, s *signal) error {
	b.mu.Lock()
	done := s.wanted()
	b.settle()
	b.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// signal is told to one who waits.
type signal struct{ c chan struct{} }

func (s *signal) wanted() <-chan struct{} {
	s.c = make(chan struct{})
	return s.c
}

func (s *signal) tell() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}
