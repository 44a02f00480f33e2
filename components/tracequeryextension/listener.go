package tracequeryextension

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// keptListener is a listening socket that outlives a configuration reload: while the next extension is being built,
// connections wait in the kernel's queue instead of being refused.
type keptListener struct {
	net.Listener
	deadline interface{ SetDeadline(t time.Time) error }

	mu sync.Mutex
	// late are connections that a turn accepted while it was being closed.
	late []net.Conn
}

// turn is the use of a kept listener by one extension. Closing it leaves the socket open.
type turn struct {
	*keptListener
	mu     sync.Mutex
	closed bool
}

// listen opens the port, or takes it over from the extension before a reload. release gives it back after the listener
// was closed and everybody has left Accept.
func listen(ctx context.Context, id component.ID, sc *confighttp.ServerConfig) (l net.Listener, release func() error, err error) {
	l, release, err = listenPlain(ctx, id, sc)
	if err != nil || !sc.TLS.HasValue() {
		return l, release, err
	}
	conf, err := sc.TLS.Get().LoadTLSConfig(ctx)
	if err != nil {
		_ = release() // The other error is what to mend.
		return nil, nil, err
	}
	conf.NextProtos = []string{"h2", "http/1.1"} // C-02
	return tls.NewListener(l, conf), release, nil
}

func listenPlain(ctx context.Context, id component.ID, sc *confighttp.ServerConfig) (net.Listener, func() error, error) {
	if strings.HasSuffix(sc.NetAddr.Endpoint, ":0") { // Any port: there is none to keep.
		l, err := sc.NetAddr.Listen(ctx)
		return l, func() error { return nil }, err
	}
	key := fmt.Sprintf("query port %s %s", sc.NetAddr.Transport, sc.NetAddr.Endpoint)
	value, release, err := procstate.Default.Acquire(key, id.String(), func() (procstate.Opened, error) {
		l, err := sc.NetAddr.Listen(ctx)
		if err != nil {
			return procstate.Opened{}, err
		}
		kept := &keptListener{Listener: l}
		return procstate.Opened{Value: kept, Close: kept.close}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	kept := value.(*keptListener)
	deadline, ok := kept.Listener.(interface{ SetDeadline(t time.Time) error })
	if !ok { // A pipe, which cannot be handed over.
		return kept.Listener, release, nil
	}
	kept.deadline = deadline
	if err := kept.deadline.SetDeadline(time.Time{}); err != nil {
		_ = release() // The other error is what to mend.
		return nil, nil, fmt.Errorf("take over the port: %w", err)
	}
	return &turn{keptListener: kept}, release, nil
}

// Accept implements net.Listener.
func (t *turn) Accept() (net.Conn, error) {
	if c := t.takeLate(); c != nil {
		return c, nil
	}
	c, err := t.Listener.Accept()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		return c, err
	}
	if err == nil {
		t.keepLate(c)
	}
	return nil, net.ErrClosed
}

// Close ends Accept, now and for ever.
func (t *turn) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	return t.deadline.SetDeadline(time.Unix(1, 0))
}

func (k *keptListener) takeLate() net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.late) == 0 {
		return nil
	}
	c := k.late[0]
	k.late = k.late[1:]
	return c
}

func (k *keptListener) keepLate(c net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.late = append(k.late, c)
}

// close closes the socket and what waits for an answer.
func (k *keptListener) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.late {
		_ = c.Close() // Nobody has been told anything on it.
	}
	k.late = nil
	return k.Close()
}
