package jaegerreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	contrib "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/jaegerreceiver"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/components/jaegerreceiver/internal/metadata"
)

// readPause is how long the reader waits after an error of the socket, so that a lasting one does not use a CPU.
const readPause = 10 * time.Millisecond

// listener takes Thrift calls from a UDP socket.
type listener struct {
	transport string
	config    contrib.ProtocolUDP
	protocol  func(*thrift.TConfiguration) thrift.TProtocolFactory
	next      consumer.Traces
	logger    *zap.Logger
	obsrecv   *receiverhelper.ObsReport
	telemetry *metadata.TelemetryBuilder

	conn   *net.UDPConn // nil before start
	queue  chan packet
	closed chan struct{}
	reader sync.WaitGroup
	worker sync.WaitGroup
}

// packet is what one client sent at once.
type packet struct {
	from net.Addr
	data []byte
}

func newListener(set receiver.Settings, transport string, cfg contrib.ProtocolUDP,
	protocol func(*thrift.TConfiguration) thrift.TProtocolFactory, next consumer.Traces, telemetry *metadata.TelemetryBuilder,
) (*listener, error) {
	obsrecv, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: transport, ReceiverCreateSettings: set,
	})
	if err != nil {
		return nil, err
	}
	return &listener{
		transport: transport, config: cfg, protocol: protocol, next: next, obsrecv: obsrecv, telemetry: telemetry,
		logger: set.Logger.With(zap.String("transport", transport)), queue: make(chan packet, cfg.ServerConfigUDP.QueueSize), closed: make(chan struct{}),
	}, nil
}

// start opens the socket and starts the goroutines. ctx bounds only the start.
func (l *listener) start(ctx context.Context) error {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", l.config.Endpoint)
	if err != nil {
		return fmt.Errorf("listen for Jaeger clients on UDP %q: %w", l.config.Endpoint, err)
	}
	l.conn = conn.(*net.UDPConn)
	if n := l.config.ServerConfigUDP.SocketBufferSize; n > 0 {
		if err := l.conn.SetReadBuffer(n); err != nil {
			return errors.Join(fmt.Errorf("set the socket's buffer to %d bytes: %w", n, err), l.stop())
		}
	}
	l.logger.Info("Listening for Jaeger clients", zap.Stringer("endpoint", l.conn.LocalAddr()))
	l.reader.Go(l.read)
	for range l.config.ServerConfigUDP.Workers {
		l.worker.Go(l.work)
	}
	return nil
}

// stop closes the socket and returns when what was queued is passed on. It does nothing before start and the second time.
func (l *listener) stop() error {
	if l.conn == nil {
		return nil
	}
	close(l.closed)
	err := l.conn.Close()
	l.reader.Wait()
	close(l.queue)
	l.worker.Wait()
	l.conn = nil
	return err
}

// read moves packets from the socket to the queue until the socket is closed.
func (l *listener) read() {
	limit := l.config.ServerConfigUDP.MaxPacketSize
	buf := make([]byte, limit+1) // One more byte tells a packet that is too large from one that just fits.
	for {
		n, from, err := l.conn.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.logger.Warn("Cannot read from the socket", zap.Error(err))
			select {
			case <-l.closed:
			case <-time.After(readPause):
			}
			continue
		case n > limit:
			l.drop(from, tooLarge, fmt.Errorf("the packet is larger than max_packet_size (%d bytes)", limit))
			continue
		}
		select {
		case l.queue <- packet{from, bytes.Clone(buf[:n])}:
		default:
			l.drop(from, queueFull, fmt.Errorf("the queue has queue_size (%d) packets already", cap(l.queue)))
		}
	}
}

// work passes on what is queued until the queue is closed and empty.
func (l *listener) work() {
	for p := range l.queue {
		l.handle(p)
	}
}

func (l *listener) handle(p packet) {
	ctx := client.NewContext(context.Background(), client.Info{Addr: p.from})
	td, spans, err := decode(ctx, p.data, l.protocol)
	if d, ok := errors.AsType[*dropError](err); ok {
		l.drop(p.from, d.reason, d)
		return
	}
	ctx = l.obsrecv.StartTracesOp(ctx)
	if spans > 0 {
		err = l.next.ConsumeTraces(ctx, td)
	}
	l.obsrecv.EndTracesOp(ctx, "thrift", spans, err)
	if err != nil {
		// There is nobody to tell: a client over UDP gets no answer.
		l.logger.Warn("Spans are lost: the pipeline refused them", zap.Int("spans", spans), zap.Stringer("client", p.from), zap.Error(err))
	}
}

// drop counts a packet of which nothing is taken. The log of a Collector samples lines that repeat.
func (l *listener) drop(from net.Addr, reason dropReason, err error) {
	l.telemetry.JaegerUDPDroppedPackets.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("transport", l.transport), attribute.String("reason", string(reason))))
	level := l.logger.Warn
	if reason == panicked {
		level = l.logger.Error
	}
	level("Dropped a packet", zap.String("reason", string(reason)), zap.Stringer("client", from), zap.Error(err))
}
