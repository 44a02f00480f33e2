package keptport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"google.golang.org/grpc"
)

const (
	// settle is how long a connection that was just accepted is given to be looked at: gRPC's server closes those that it
	// has not looked at when it is told to stop, and their clients would have to send again.
	settle = 20 * time.Millisecond
	// silence is how long a connection may go without a byte when the server is to stop.
	silence = 100 * time.Millisecond
	// grpcPatience is how long calls may go on sending their messages, and clients may take to leave, when the server is to
	// stop. Calls whose messages have arrived are finished in any case.
	grpcPatience = time.Second
)

// GRPC is what ServeGRPC serves.
type GRPC struct {
	// Owner is named to others that want the port at the same time.
	Owner string
	// Config has the address and everything else. The server is a new one each time.
	Config *configgrpc.ServerConfig
	// Extensions and Telemetry are the component's.
	Extensions map[component.ID]component.Component
	Telemetry  component.TelemetrySettings
	// Register adds the services; their calls have one message and one answer.
	Register func(*grpc.Server)
	// Failed is told when nothing can be accepted any more.
	Failed func(error)
}

// GRPCServing is the turn of one gRPC server on a port that stays open.
type GRPCServing struct {
	server   *grpc.Server
	listener *Listener
	release  func() error
	serving  sync.WaitGroup
	calls    calls
}

// ServeGRPC serves on the port that g.Config names, or takes it over from the component before a reload.
func ServeGRPC(ctx context.Context, g *GRPC) (*GRPCServing, error) {
	s := &GRPCServing{}
	var err error
	s.server, err = g.Config.ToServer(ctx, g.Extensions, g.Telemetry,
		configgrpc.WithGrpcServerOption(grpc.ChainUnaryInterceptor(s.calls.count)),
		// What has not shaken hands by then is closed, so that the listener knows all that the server waits for.
		configgrpc.WithGrpcServerOption(grpc.ConnectionTimeout(RecentFor)))
	if err != nil {
		return nil, err
	}
	s.listener, s.release, err = Listen(ctx, &g.Config.NetAddr, g.Owner)
	if err != nil {
		return nil, err
	}
	g.Register(s.server)
	failed := g.Failed
	s.serving.Go(func() {
		if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			failed(fmt.Errorf("serve gRPC on %s: %w", s.listener.Addr(), err))
		}
	})
	return s, nil
}

// Addr is where it listens.
func (s *GRPCServing) Addr() net.Addr { return s.listener.Addr() }

// Stop finishes the calls that have begun and tells clients to connect anew. Their connections wait for a successor.
func (s *GRPCServing) Stop(ctx context.Context) error {
	_ = s.listener.Close() // It ends Accept.
	s.serving.Wait()
	if d := settle - s.listener.SinceAccept(); d > 0 {
		time.Sleep(d)
	}
	left := make(chan struct{})
	go func() {
		s.server.GracefulStop()
		close(left)
	}()
	silent, impatient := time.NewTimer(silence), time.NewTimer(grpcPatience)
	defer silent.Stop()
	defer impatient.Stop()
	for waiting := true; waiting; {
		select {
		case <-left:
			return s.release()
		case <-silent.C:
			s.listener.CloseSilent()
		case <-impatient.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	s.calls.wait(ctx)
	last := time.NewTimer(grpcPatience) // For the answers, which are on their way.
	defer last.Stop()
	select {
	case <-left:
	case <-last.C:
		s.listener.CloseRecent() // Those that have not shaken hands: Stop would wait for them.
		s.server.Stop()
		<-left
	}
	s.calls.wait(ctx)
	return s.release()
}

// calls counts the calls whose messages have arrived. The zero value is ready.
type calls struct {
	mu    sync.Mutex
	n     int
	quiet chan struct{} // closed when n becomes 0; nil unless somebody waits
}

// count is a grpc.UnaryServerInterceptor.
func (c *calls) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n--; c.n == 0 && c.quiet != nil {
			close(c.quiet)
			c.quiet = nil
		}
	}()
	return next(ctx, req)
}

// wait returns when no call is in progress, or when ctx ends.
func (c *calls) wait(ctx context.Context) {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	quiet := c.quiet
	c.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}
