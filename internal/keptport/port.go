package keptport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/config/confignet"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// keyPrefix begins the keys of ports in the registry of the process.
const keyPrefix = "port "

// deadliner is a listener whose Accept can be interrupted.
type deadliner interface{ SetDeadline(t time.Time) error }

// port is a listening socket and what is served on it.
type port struct {
	listener net.Listener
	deadline deadliner // nil if Accept cannot be interrupted
	gate     *gate

	mu    sync.Mutex
	owner string // who uses the port; empty between two
	web   *server
	// retired are servers whose connections are left to end; see server.retire.
	retired []*server

	lateMu sync.Mutex
	// late are connections that a turn accepted while it was being closed.
	late []net.Conn
}

// acquire opens the port of addr, or takes it over. release must be called once, after everything that was served on it
// has ended; without a successor it closes the port when procstate's time of grace is over.
func acquire(ctx context.Context, addr *confignet.AddrConfig, owner string) (p *port, release func() error, err error) {
	open := func() (*port, error) {
		l, err := listen(ctx, addr)
		if err != nil {
			return nil, err
		}
		p := &port{listener: l, gate: newGate()}
		p.deadline, _ = l.(deadliner)
		return p, nil
	}
	if strings.HasSuffix(addr.Endpoint, ":0") {
		p, err := open()
		if err != nil {
			return nil, nil, err
		}
		return p, p.close, nil
	}
	key := keyPrefix + string(addr.Transport) + " " + addr.Endpoint
	value, free, err := procstate.Default.Acquire(key, "", func() (procstate.Opened, error) {
		p, err := open()
		if err != nil {
			return procstate.Opened{}, err
		}
		return procstate.Opened{Value: p, Close: p.close}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	p, ok := value.(*port)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("%s is kept as something else", key), free())
	}
	if err := p.take(owner); err != nil {
		return nil, nil, errors.Join(err, free())
	}
	return p, func() error {
		p.leave()
		err := free()
		if p.deadline == nil { // Its turn had to close it; there is nothing to keep.
			err = errors.Join(err, procstate.Default.CloseIdle(func(k string) bool { return k == key }))
		}
		return err
	}, nil
}

// listen opens the socket. What is in the way may be our own, kept for a successor that does not come.
func listen(ctx context.Context, addr *confignet.AddrConfig) (net.Listener, error) {
	l, err := addr.Listen(ctx)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	_, number, serr := net.SplitHostPort(addr.Endpoint)
	if serr != nil {
		return nil, err
	}
	if cerr := procstate.Default.CloseIdle(func(key string) bool {
		return strings.HasPrefix(key, keyPrefix) && strings.HasSuffix(key, ":"+number)
	}); cerr != nil {
		return nil, errors.Join(err, cerr)
	}
	return addr.Listen(ctx)
}

func (p *port) take(owner string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner != "" {
		return fmt.Errorf("the address is used by %s already: give one of them another", p.owner)
	}
	p.owner = owner
	return nil
}

func (p *port) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner = ""
}

// close ends what is served on the port: requests that wait for a handler are refused, and the socket is closed.
func (p *port) close() error {
	p.gate.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := []error{p.endWeb()}
	for _, s := range p.retired {
		errs = append(errs, s.close())
	}
	p.retired = nil
	p.lateMu.Lock()
	for _, c := range p.late {
		_ = c.Close() // Nobody has been told anything on it.
	}
	p.late = nil
	p.lateMu.Unlock()
	if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endWeb shuts down the HTTP server of the port if there is one. p.mu is held.
func (p *port) endWeb() error {
	if p.web == nil {
		return nil
	}
	s := p.web
	p.web = nil
	return s.close()
}
