package otlpreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/receiver"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

const (
	// settle is how long a connection that was just accepted is given to be looked at: gRPC's server closes those that it
	// has not looked at when it is told to stop, and their clients would have to send again.
	settle = 20 * time.Millisecond
	// silence is how long a connection may go without a byte when the server is to stop.
	silence = 100 * time.Millisecond
	// patience is how long calls may go on sending their messages, and clients may take to leave, when the server is to
	// stop. Calls whose messages have arrived are finished in any case.
	patience = time.Second
)

// grpcServer serves OTLP over gRPC on a port that stays open.
type grpcServer struct {
	server   *grpc.Server
	listener *keptport.Listener
	release  func() error
	fatal    func(error)
	serving  sync.WaitGroup
	calls    calls
}

func newGRPCServer(ctx context.Context, host component.Host, set receiver.Settings, cfg *configgrpc.ServerConfig, fatal func(error)) (*grpcServer, error) {
	s := &grpcServer{fatal: fatal}
	var err error
	s.server, err = cfg.ToServer(ctx, host.GetExtensions(), set.TelemetrySettings,
		configgrpc.WithGrpcServerOption(grpc.ChainUnaryInterceptor(s.calls.count)),
		// What has not shaken hands by then is closed, so that the listener knows all that the server waits for.
		configgrpc.WithGrpcServerOption(grpc.ConnectionTimeout(keptport.RecentFor)))
	if err != nil {
		return nil, err
	}
	s.listener, s.release, err = keptport.Listen(ctx, &cfg.NetAddr, "receiver "+set.ID.String())
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *grpcServer) start() {
	s.serving.Go(func() {
		if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			s.fatal(fmt.Errorf("serve OTLP over gRPC on %s: %w", s.listener.Addr(), err))
		}
	})
}

// stop finishes the calls that have begun and tells clients to connect anew.
func (s *grpcServer) stop(ctx context.Context) error {
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
	silent, impatient := time.NewTimer(silence), time.NewTimer(patience)
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
	last := time.NewTimer(patience) // For the answers, which are on their way.
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
