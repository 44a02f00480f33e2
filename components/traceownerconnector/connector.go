package traceownerconnector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/bramble-tracing/bramble/components/traceownerconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/federation"
)

// memberLister is the part of trace_query that is needed.
type memberLister interface {
	// Members lists the agents, this one included, and says whether any are configured.
	Members() (members []federation.Member, configured bool)
}

type ownerConnector struct {
	cfg       *Config
	set       connector.Settings
	next      consumer.Traces
	telemetry *metadata.TelemetryBuilder

	peers memberLister
	dial  func(address string) (*grpc.ClientConn, error)

	mu    sync.Mutex
	conns map[string]*destination // By address.
	told  time.Time               // When a failure was last logged.
}

// Values of the attribute route.
const (
	routeOwn      = "own"
	routeSent     = "sent"
	routeFallback = "fallback"
)

// destination is a connection to another agent.
type destination struct {
	conn   *grpc.ClientConn
	client ptraceotlp.GRPCClient
}

func newOwnerConnector(set connector.Settings, cfg *Config, next consumer.Traces) (*ownerConnector, error) {
	t, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("set up metrics: %w", err)
	}
	return &ownerConnector{cfg: cfg, set: set, next: next, telemetry: t, conns: map[string]*destination{}}, nil
}

// Capabilities says that batches are copied, not changed.
func (c *ownerConnector) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// Start finds the extension. The context is not kept.
func (c *ownerConnector) Start(_ context.Context, host component.Host) error {
	peers, err := exthost.Find[memberLister](host, c.cfg.Peers)
	if err != nil {
		return err
	}
	if _, configured := peers.Members(); !configured {
		return fmt.Errorf("%s has no section peers: without it there are no owners; take %s out of the pipelines of a single agent", c.cfg.Peers, c.set.ID)
	}
	c.peers = peers
	extensions := host.GetExtensions()
	c.dial = func(address string) (*grpc.ClientConn, error) { //nolint:contextcheck // Connections outlive the start.
		client := c.cfg.Client
		client.Endpoint = address
		return client.ToClientConn(context.Background(), extensions, c.set.TelemetrySettings, configgrpc.WithGrpcDialOption(grpc.WithConnectParams(reconnect)))
	}
	return nil
}

// reconnect tries soon again: an owner that is back should get its spans.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 2 * time.Second,
}

// Shutdown closes connections.
func (c *ownerConnector) Shutdown(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for a, o := range c.conns {
		errs = append(errs, o.conn.Close())
		delete(c.conns, a)
	}
	c.telemetry.Shutdown()
	return errors.Join(errs...)
}

// ConsumeTraces gives every span to its owner; see the package comment.
func (c *ownerConnector) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	if td.SpanCount() == 0 {
		return nil
	}
	members, _ := c.peers.Members()
	r := newRing(members)
	c.prune(members)
	shares := r.split(td)
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(members))
	)
	var own *ptrace.Traces
	for i, share := range shares {
		if i < 0 || r.members[i].Self { // Below 0: nobody has answered yet, this agent included.
			own = &share
			continue
		}
		wg.Go(func() { errs[i] = c.send(ctx, &r.members[i], share) })
	}
	var err error
	if own != nil {
		err = c.keep(ctx, *own, routeOwn)
	}
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

// keep gives spans to the next pipeline.
func (c *ownerConnector) keep(ctx context.Context, td ptrace.Traces, route string) error {
	n := td.SpanCount() // The next one may change td.
	if err := c.next.ConsumeTraces(ctx, td); err != nil {
		return err
	}
	c.count(ctx, n, route)
	return nil
}

func (c *ownerConnector) count(ctx context.Context, spans int, route string) {
	c.telemetry.TraceOwnerSpans.Add(ctx, int64(spans), metric.WithAttributes(attribute.String("route", route)))
}

// send gives spans to their owner, or keeps them if that fails.
func (c *ownerConnector) send(ctx context.Context, m *federation.Member, td ptrace.Traces) error {
	err := c.export(ctx, m, td)
	if err == nil {
		c.count(ctx, td.SpanCount(), routeSent)
		return nil
	}
	if ctx.Err() != nil { // The client has gone, or its time is up: it sends again.
		return fmt.Errorf("send spans to their owner %s: %w", m.Node, context.Cause(ctx))
	}
	if c.mayTell() {
		c.set.Logger.Warn("spans stay here because their owner does not take them", zap.String("owner", m.Node), zap.Error(err))
	}
	return c.keep(ctx, td, routeFallback)
}

func (c *ownerConnector) export(ctx context.Context, m *federation.Member, td ptrace.Traces) error {
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		return err
	}
	o, err := c.destination(net.JoinHostPort(host, strconv.Itoa(c.cfg.Port)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	res, err := o.client.Export(ctx, ptraceotlp.NewExportRequestFromTraces(td))
	if err != nil {
		return err
	}
	if n := res.PartialSuccess().RejectedSpans(); n > 0 {
		return fmt.Errorf("%d spans were rejected: %s", n, res.PartialSuccess().ErrorMessage())
	}
	return nil
}

// destination returns a connection, made when it is first needed.
func (c *ownerConnector) destination(address string) (*destination, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.conns[address]; o != nil {
		return o, nil
	}
	conn, err := c.dial(address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	o := &destination{conn: conn, client: ptraceotlp.NewGRPCClient(conn)}
	c.conns[address] = o
	return o, nil
}

// prune closes connections to hosts that are not in the list any more.
func (c *ownerConnector) prune(members []federation.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) < len(members) {
		return
	}
	hosts := map[string]bool{}
	for i := range members {
		if host, _, err := net.SplitHostPort(members[i].Address); err == nil {
			hosts[net.JoinHostPort(host, strconv.Itoa(c.cfg.Port))] = true
		}
	}
	for a, o := range c.conns {
		if !hosts[a] {
			delete(c.conns, a)
			_ = o.conn.Close() // What is under way fails and stays here.
		}
	}
}

// mayTell keeps the log readable while an owner is away.
func (c *ownerConnector) mayTell() bool {
	const every = 10 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.told) < every {
		return false
	}
	c.told = time.Now()
	return true
}
