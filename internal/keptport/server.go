package keptport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configtls"
)

const (
	// retireFor is how long the connections of a server that was replaced have to make their last request. SDKs send
	// every five seconds.
	retireFor = 30 * time.Second
	// closeWait is how long the end of a server waits for answers on their way.
	closeWait = time.Second
)

// HTTP is what ServeHTTP serves.
type HTTP struct {
	// Owner is named to others that want the port at the same time.
	Owner string
	// Config has the address, TLS and keep-alives.
	Config *confighttp.ServerConfig
	// Server has the handler, the timeouts and the log; Config.ToServer makes it. It is not served itself.
	Server *http.Server
	// Refuse answers requests that came when there was no handler, and none came in time. Clients are to send again.
	Refuse http.Handler
	// Failed is told when nothing can be accepted any more.
	Failed func(error)
}

// Serving is the turn of one handler on a port.
type Serving struct {
	port    *port
	gen     *generation
	release func() error
}

// server is an http.Server that outlives handlers.
type server struct {
	http     *http.Server
	listener *Listener
	settings string // what connections depend on
	tls      string // the part of it that is about TLS
	log      atomic.Pointer[log.Logger]
	failed   atomic.Pointer[func(error)]
	last     atomic.Bool   // each connection may make one more request
	done     chan struct{} // closed when it accepts nothing any more
	timer    *time.Timer   // of the end, once retired
}

// ServeHTTP serves h.Server's handler on the port that h.Config names. If the port was served before a reload with the same
// timeouts and TLS, connections and requests that wait are taken over; if only timeouts changed, each connection is closed
// after one more request.
func ServeHTTP(ctx context.Context, h HTTP) (*Serving, error) {
	var tlsConfig *tls.Config
	if h.Config.TLS.HasValue() {
		c, err := h.Config.TLS.Get().LoadTLSConfig(ctx)
		if err != nil {
			return nil, err
		}
		c.NextProtos = []string{"h2", "http/1.1"}
		tlsConfig = c
	}
	p, release, err := acquire(ctx, &h.Config.NetAddr, h.Owner)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.server(&h, tlsConfig) //nolint:contextcheck // What ends has a time of its own.
	if err != nil {
		p.owner = ""
		p.mu.Unlock()
		defer p.mu.Lock()
		return nil, errors.Join(err, release())
	}
	s.log.Store(h.Server.ErrorLog)
	s.failed.Store(&h.Failed)
	return &Serving{port: p, gen: p.gate.open(h.Server.Handler, h.Refuse), release: release}, nil
}

// Addr is where it listens.
func (s *Serving) Addr() net.Addr { return s.port.listener.Addr() }

// Stop makes new requests wait for a successor and returns when those in progress have been answered, or when ctx ends,
// with its error. Requests whose bodies do not arrive in time are cut off with ErrReloading. Without a successor
// connections are closed when procstate's time of grace is over.
func (s *Serving) Stop(ctx context.Context) error {
	return errors.Join(s.port.gate.shut(ctx, s.gen), s.release())
}

// server returns the server of the port, a new one if the settings have changed. p.mu is held.
func (p *port) server(h *HTTP, tlsConfig *tls.Config) (*server, error) {
	tlsPrint := fingerprint(h.Config)
	settings := fmt.Sprintf("%s %s %s %s %s %t", tlsPrint, h.Server.ReadTimeout, h.Server.ReadHeaderTimeout, h.Server.WriteTimeout,
		h.Server.IdleTimeout, h.Config.KeepAlivesEnabled)
	if s := p.web; s != nil {
		if s.settings == settings && s.accepts() {
			return s, nil
		}
		_ = s.listener.Close() // It ends Accept.
		<-s.done
		p.web = nil
		if s.tls == tlsPrint {
			s.retire()
			p.retired = append(p.retired, s)
		} else if err := s.close(); err != nil { // Who may connect has changed.
			return nil, err
		}
	}
	l, err := p.turn()
	if err != nil {
		return nil, err
	}
	s := &server{listener: l, settings: settings, tls: tlsPrint, done: make(chan struct{})}
	s.http = &http.Server{
		ReadTimeout: h.Server.ReadTimeout, ReadHeaderTimeout: h.Server.ReadHeaderTimeout,
		WriteTimeout: h.Server.WriteTimeout, IdleTimeout: h.Server.IdleTimeout,
		MaxHeaderBytes: h.Server.MaxHeaderBytes, ErrorLog: log.New(s, "", 0), Handler: s.handler(p.gate),
	}
	s.http.SetKeepAlivesEnabled(h.Config.KeepAlivesEnabled)
	var accept net.Listener = l
	if tlsConfig != nil {
		accept = tls.NewListener(l, tlsConfig)
	}
	go func() {
		err := s.http.Serve(accept)
		close(s.done)
		if f := s.failed.Load(); f != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			(*f)(err)
		}
	}()
	p.web = s
	return s, nil
}

func (s *server) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.last.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) accepts() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// retire lets each connection make one more request, so that none is closed while its client writes one.
func (s *server) retire() {
	s.last.Store(true)
	s.timer = time.AfterFunc(retireFor, func() { _ = s.http.Close() })
}

// close ends the server with its connections; answers on their way are waited for.
func (s *server) close() error {
	if s.timer != nil {
		s.timer.Stop()
	}
	_ = s.listener.Close() // It ends Accept.
	<-s.done
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := s.http.Shutdown(ctx); err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err := s.http.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the connections: %w", err)
	}
	return nil
}

// Write passes a line of the server's log on to the component that has its turn. It implements io.Writer.
func (s *server) Write(p []byte) (int, error) {
	if l := s.log.Load(); l != nil {
		l.Print(string(p))
	}
	return len(p), nil
}

// fingerprint tells settings of TLS apart, by the contents of their files too: what is read anew after a reload may be
// another certificate.
func fingerprint(c *confighttp.ServerConfig) string {
	if !c.TLS.HasValue() {
		return ""
	}
	t := c.TLS.Get()
	h := sha256.New()
	fmt.Fprintf(h, "%+v", *t) // Without the secrets.
	for _, pem := range []string{string(t.CAPem), string(t.CertPem), string(t.KeyPem)} {
		fmt.Fprintf(h, "%d %s", len(pem), pem)
	}
	for _, name := range files(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			b = []byte(err.Error()) // LoadTLSConfig has reported it if it matters.
		}
		fmt.Fprintf(h, "%d ", len(b))
		_, _ = h.Write(b) // A hash takes everything.
	}
	return hex.EncodeToString(h.Sum(nil))
}

func files(t *configtls.ServerConfig) []string {
	var out []string
	for _, f := range []string{t.CAFile, t.CertFile, t.KeyFile, t.ClientCAFile} {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}
