package tracequeryextension

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/internal/federation"
	"github.com/bramble-tracing/bramble/internal/query"
)

// peering is this agent's part in answering with others: the list of peers and the port where they ask.
type peering struct {
	node  string
	peers *federation.Peers
	grpc  *grpc.Server
	serve sync.WaitGroup
}

// startPeers listens for other agents and makes the service ask them. It returns nil if there are none configured.
func (e *queryExtension) startPeers(ctx context.Context, host component.Host) (*peering, error) { //nolint:contextcheck // Calls have contexts of their own.
	if !e.cfg.Peers.HasValue() {
		return nil, nil //nolint:nilnil // There are none.
	}
	c := e.cfg.Peers.Get()
	name, err := os.Hostname()
	if err != nil && c.Node == "" {
		return nil, fmt.Errorf("peers::node: cannot be taken from the host: %w", err)
	}
	p := &peering{node: cmp.Or(c.Node, name)}
	resolver, err := c.resolver()
	if err != nil {
		return nil, err
	}
	instance := uuid.NewString()
	server := c.Server
	serverOptions := []configgrpc.ToServerOption{
		configgrpc.WithGrpcServerOption(grpc.ChainStreamInterceptor(recoverStream(e.set.Logger))),
		configgrpc.WithGrpcServerOption(grpc.ChainUnaryInterceptor(recoverUnary(e.set.Logger))),
	}
	for _, o := range federation.ServerOptions() {
		serverOptions = append(serverOptions, configgrpc.WithGrpcServerOption(o))
	}
	p.grpc, err = server.ToServer(ctx, host.GetExtensions(), e.set.TelemetrySettings, serverOptions...)
	if err != nil {
		return nil, fmt.Errorf("peers::server: %w", err)
	}
	federation.NewServer(e.service, p.node, instance).Register(p.grpc)
	listener, err := server.NetAddr.Listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("peers::server: listen on %s: %w", server.NetAddr.Endpoint, err)
	}
	p.serve.Go(func() {
		if err := p.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			componentstatus.ReportStatus(host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("serve peers on %s: %w", listener.Addr(), err)))
		}
	})
	extensions, telemetry := host.GetExtensions(), e.set.TelemetrySettings
	dialOptions := []configgrpc.ToClientConnOption{
		configgrpc.WithGrpcDialOption(grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(peersMaxMessage << 20))),
		configgrpc.WithGrpcDialOption(grpc.WithConnectParams(reconnect)),
	}
	for _, o := range federation.DialOptions() {
		dialOptions = append(dialOptions, configgrpc.WithGrpcDialOption(o))
	}
	p.peers = federation.Start(federation.Options{ //nolint:contextcheck // Peers outlive Start, until close.
		Node: p.node, Instance: instance, Resolver: resolver,
		Dial: func(address string) (*grpc.ClientConn, error) { //nolint:contextcheck // As above; nothing is connected yet.
			client := c.Client
			client.Endpoint = address
			return client.ToClientConn(context.Background(), extensions, telemetry, dialOptions...)
		},
		Measured: measuresCalls(ctx, telemetry.MeterProvider),
		Interval: c.HealthInterval, Timeout: c.HealthTimeout, Forget: c.ForgetAfter, Logger: e.set.Logger,
	})
	e.service.Federate(query.Federation{Peers: p.peers, Node: p.node, Strict: c.Strict, Parallel: c.Parallel})
	e.set.Logger.Info("peers can ask", zap.String("node", p.node), zap.Stringer("address", listener.Addr()))
	return p, nil
}

// reconnect tries soon again: a peer that is back should be asked within seconds.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// callsScope is the instrumentation scope of gRPC's own metrics.
const callsScope = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"

// measuresCalls reports whether gRPC's own metrics are kept: the Collector drops the scope unless
// service::telemetry::metrics::level is detailed.
func measuresCalls(ctx context.Context, provider metric.MeterProvider) bool {
	h, err := provider.Meter(callsScope).Float64Histogram("bramble.peers.probe") // Without a value it is not exported.
	return err == nil && h.Enabled(ctx)
}

func (p *peering) close() error {
	if p == nil {
		return nil
	}
	err := p.peers.Close()
	p.grpc.Stop()
	p.serve.Wait()
	return err
}

// Members lists the agents, this one included, and says whether peers are configured. Who gives spans to the agents that
// own them needs it.
func (e *queryExtension) Members() (members []federation.Member, configured bool) {
	if e.peers == nil {
		return nil, false
	}
	return e.peers.peers.Members(), true
}

// resolver is the configured way to find agents.
func (c *PeersConfig) resolver() (federation.Resolver, error) {
	switch {
	case c.DNS.HasValue():
		d := c.DNS.Get()
		return &federation.DNS{Hostname: d.Hostname, Port: strconv.Itoa(d.Port), Interval: d.Interval}, nil
	case c.Kubernetes.HasValue():
		k := c.Kubernetes.Get()
		conf, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("peers::kubernetes: %w", err)
		}
		client, err := kubernetes.NewForConfig(conf)
		if err != nil {
			return nil, fmt.Errorf("peers::kubernetes: %w", err)
		}
		ns := k.Namespace
		if ns == "" {
			if ns, err = podNamespace(); err != nil {
				return nil, fmt.Errorf("peers::kubernetes::namespace: must be set: %w", err)
			}
		}
		return &federation.EndpointSlices{Client: client, Namespace: ns, Service: k.Service, Port: k.Port}, nil
	}
	return federation.Static(c.Static), nil
}

// podNamespace reads the namespace of the pod that this process is in.
func podNamespace() (string, error) {
	b, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	return strings.TrimSpace(string(b)), err
}

// recoverStream and recoverUnary turn a panic, which would be our mistake, into an error.
func recoverStream(log *zap.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer recovered(log, info.FullMethod, &err)
		return handler(srv, ss)
	}
}

func recoverUnary(log *zap.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
		defer recovered(log, info.FullMethod, &err)
		return handler(ctx, req)
	}
}

func recovered(log *zap.Logger, method string, err *error) {
	if p := recover(); p != nil {
		log.Error("a peer's request made this agent panic", zap.String("method", method), zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
		*err = status.Error(codes.Internal, "internal error, see the log of the node")
	}
}

// detector looks whether there are other agents although no peers are configured.
type detector struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// detectInterval is the time between lookups.
const detectInterval = time.Minute

// startDetection returns nil if there is nothing to look up.
func (e *queryExtension) startDetection() *detector {
	if e.cfg.Peers.HasValue() || e.cfg.DetectPeers == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &detector{cancel: cancel}
	resolver := &federation.DNS{Hostname: e.cfg.DetectPeers, Port: "0", Interval: detectInterval}
	d.work.Go(func() {
		resolver.Run(ctx, func(found []federation.Endpoint) { e.detected(found) }, func(error) {})
	})
	return d
}

// detected says that other agents are not asked, or that this has ended.
func (e *queryExtension) detected(found []federation.Endpoint) {
	hosts := map[string]bool{}
	for _, f := range found {
		// A dual-stack name has two addresses of each agent.
		if h, _, err := net.SplitHostPort(f.Address); err == nil && strings.Contains(h, ":") == strings.Contains(found[0].Address, "[") {
			hosts[h] = true
		}
	}
	if len(hosts) < 2 {
		e.service.Alone("")
		return
	}
	text := fmt.Sprintf("%s has %d agents and no peers are configured: answers are about the spans of this one only", e.cfg.DetectPeers, len(hosts))
	e.service.Alone(text)
	e.set.Logger.Warn(text + "; set trace_query::peers")
}

func (d *detector) close() {
	if d != nil {
		d.cancel()
		d.work.Wait()
	}
}
