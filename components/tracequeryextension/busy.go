package tracequeryextension

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// busyConns knows which connections have requests in progress. http.Server.Shutdown waits a second longer than that for
// HTTP/2 connections, in which nobody is served, neither here nor by the successor after a reload.
type busyConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// quiet, if set, is closed when there are none any more.
	quiet chan struct{}
}

// observe is an http.Server.ConnState hook. HTTP/2 connections become idle when the last byte of their last stream is
// written.
func (b *busyConns) observe(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == http.StateActive {
		if b.conns == nil {
			b.conns = make(map[net.Conn]struct{})
		}
		b.conns[c] = struct{}{}
		return
	}
	delete(b.conns, c)
	if b.quiet != nil && len(b.conns) == 0 {
		close(b.quiet)
		b.quiet = nil
	}
}

// wait returns when no connection is busy, or when ctx ends, with its cause. It must not be called twice at once.
func (b *busyConns) wait(ctx context.Context) error {
	b.mu.Lock()
	if len(b.conns) == 0 {
		b.mu.Unlock()
		return nil
	}
	quiet := make(chan struct{})
	b.quiet = quiet
	b.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
