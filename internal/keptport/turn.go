package keptport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/collector/config/confignet"
)

// Listener is the use of a port by one component. Closing it ends Accept and leaves the socket open for the successor.
type Listener struct {
	port *port

	mu     sync.Mutex
	closed bool
	recent []recentConn
}

// recentConn is a connection that was accepted a short time ago.
type recentConn struct {
	conn net.Conn
	at   time.Time
}

// RecentFor is for how long a Listener knows a connection after it was accepted.
const RecentFor = 10 * time.Second

// Listen opens the port of addr, or takes it over from the component before a reload; owner is named to others that want
// it at the same time. release gives it back: call it once, after the listener was closed and everybody has left Accept.
func Listen(ctx context.Context, addr *confignet.AddrConfig, owner string) (l *Listener, release func() error, err error) {
	p, release, err := acquire(ctx, addr, owner)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	err = p.endWeb() //nolint:contextcheck // If it served HTTP before a reload, it does not any more; that takes its own time.
	p.mu.Unlock()
	if err == nil {
		l, err = p.turn()
	}
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return l, release, nil
}

// turn begins a use of the socket.
func (p *port) turn() (*Listener, error) {
	if p.deadline != nil {
		if err := p.deadline.SetDeadline(time.Time{}); err != nil {
			return nil, fmt.Errorf("take over the port: %w", err)
		}
	}
	return &Listener{port: p}, nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.port.listener.Addr() }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed { // The socket may be another's by now.
		return nil, net.ErrClosed
	}
	c := l.port.takeLate()
	var err error
	if c == nil {
		c, err = l.port.listener.Accept()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		if err == nil {
			l.remember(c)
		}
		return c, err
	}
	if err == nil {
		l.port.keepLate(c)
	}
	return nil, net.ErrClosed
}

// remember notes a connection for CloseRecent. l.mu is held.
func (l *Listener) remember(c net.Conn) {
	now := time.Now()
	old := 0
	for old < len(l.recent) && now.Sub(l.recent[old].at) > RecentFor {
		old++
	}
	l.recent = append(l.recent[old:], recentConn{c, now})
}

// SinceAccept is how long ago a connection was accepted last, or a very long time if none was within RecentFor.
func (l *Listener) SinceAccept() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) == 0 {
		return math.MaxInt64
	}
	return time.Since(l.recent[len(l.recent)-1].at)
}

// CloseSilent closes the connections, accepted within RecentFor, on which no byte has arrived: a server that waits for
// handshakes to end before it tells its clients to go, as gRPC's does, would wait for them. It knows only TCP on Linux.
func (l *Listener) CloseSilent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.recent {
		if silent(r.conn) {
			_ = r.conn.Close() // It may be closed already.
		}
	}
}

// CloseRecent closes the connections that were accepted within RecentFor.
func (l *Listener) CloseRecent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.recent {
		_ = r.conn.Close() // It may be closed already.
	}
	l.recent = nil
}

// Close ends Accept, now and for ever.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.port.deadline == nil {
		return l.port.listener.Close()
	}
	return l.port.deadline.SetDeadline(time.Unix(1, 0))
}

func (p *port) takeLate() net.Conn {
	p.lateMu.Lock()
	defer p.lateMu.Unlock()
	if len(p.late) == 0 {
		return nil
	}
	c := p.late[0]
	p.late = p.late[1:]
	return c
}

func (p *port) keepLate(c net.Conn) {
	p.lateMu.Lock()
	defer p.lateMu.Unlock()
	p.late = append(p.late, c)
}
