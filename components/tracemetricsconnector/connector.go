package tracemetricsconnector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/components/tracemetricsconnector/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracemetrics"
)

// expireInterval is how often the service graph looks for spans that have waited long enough.
const expireInterval = time.Second

// metricsConnector counts spans and sends metrics every flush interval. It implements store.Observer.
type metricsConnector struct {
	cfg      *Config
	id       component.ID
	logger   *zap.Logger
	settings component.TelemetrySettings
	next     consumer.Metrics

	aggregator *tracemetrics.Aggregator
	// retainer pins, deciding tells whether traces are sampled away. They are nil if the store cannot.
	retainer  store.Retainer
	deciding  store.Deciding
	release   func() error
	telemetry *metadata.TelemetryBuilder
	unobserve func()
	failed    atomic.Int64
	pinned    atomic.Int64
	unpinned  atomic.Int64 // traces that the store refused to pin
	rows      sync.Pool    // *pipelineRows

	stop chan struct{}
	done chan struct{}
}

var (
	_ connector.Traces = (*metricsConnector)(nil)
	_ store.Observer   = (*metricsConnector)(nil)
)

// pipelineRows is one request as flat rows, with the memory they live in.
type pipelineRows struct {
	batch store.Batch
	arena otlpspan.Arena
}

func newMetricsConnector(set connector.Settings, cfg *Config, next consumer.Metrics) *metricsConnector {
	return &metricsConnector{cfg: cfg, id: set.ID, logger: set.Logger, settings: set.TelemetrySettings, next: next}
}

// Capabilities implements consumer.Traces.
func (*metricsConnector) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start takes over what a previous configuration of this process has accumulated, if it was for the same series, and
// begins to observe the store.
func (c *metricsConnector) Start(_ context.Context, host component.Host) error {
	var notifier store.Notifier
	storeID, err := c.cfg.storeID()
	if err != nil {
		return err
	}
	if storeID != nil {
		if notifier, err = exthost.Find[store.Notifier](host, *storeID); err != nil {
			return fmt.Errorf("%w; or set `store: \"\"` to count what the pipeline brings", err)
		}
	}
	if err := c.acquire(); err != nil {
		return err
	}
	if err := c.registerMetrics(); err != nil {
		return errors.Join(err, c.release())
	}
	c.warn()
	if notifier != nil {
		c.retainer, _ = notifier.(store.Retainer)
		c.deciding, _ = notifier.(store.Deciding)
		c.unobserve = notifier.Observe(c)
	}
	c.stop, c.done = make(chan struct{}), make(chan struct{})
	go c.run(c.stop, c.done) //nolint:gosec,contextcheck // Start's context ends with Start.
	return nil
}

func (c *metricsConnector) acquire() error {
	node, err := c.cfg.node()
	if err != nil {
		return err
	}
	cfg := c.cfg.aggregation(node)
	fingerprint := fmt.Sprintf("%+v", cfg)
	value, release, err := procstate.Default.Acquire(c.id.String()+" of node "+node, fingerprint, func() (procstate.Opened, error) {
		a, err := tracemetrics.New(cfg, time.Now())
		if err != nil {
			return procstate.Opened{}, err
		}
		return procstate.Opened{Value: a}, nil
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", c.id, err)
	}
	c.aggregator, c.release = value.(*tracemetrics.Aggregator), release
	return nil
}

// warn tells what is allowed but has a catch.
func (c *metricsConnector) warn() {
	cfg := c.cfg.aggregation("")
	if labels := cfg.ReservedLabels(); len(labels) > 0 {
		c.logger.Warn("Labels that begin with two underscores can be sent by remote write only: the prometheus exporter leaves out series that have them. Rename the dimensions by dimension_mappings",
			zap.Strings("labels", labels))
	}
	if c.cfg.NativeHistograms == string(tracemetrics.HistogramsBoth) {
		c.logger.Info("Both kinds of histograms are made: send them by remote write; the prometheus exporter cannot show two kinds under one name")
	}
}

// run sends metrics until stop is closed.
func (c *metricsConnector) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	flush, expire := time.NewTicker(c.cfg.FlushInterval), time.NewTicker(expireInterval)
	defer flush.Stop()
	defer expire.Stop()
	for {
		select {
		case <-stop:
			return
		case <-flush.C:
			// The pipeline has its own timeouts; an error is counted and logged there and here.
			_ = c.flush(context.Background(), false)
		case now := <-expire.C:
			c.aggregator.Expire(now)
		}
	}
}

// flush sends what has accumulated. Counts are cumulative: after a failed flush the next one carries the same.
func (c *metricsConnector) flush(ctx context.Context, last bool) error {
	collection := c.aggregator.Collect(time.Now(), last)
	if collection.Metrics.ResourceMetrics().Len() == 0 {
		return nil
	}
	c.pin(ctx, &collection)
	if err := c.next.ConsumeMetrics(ctx, collection.Metrics); err != nil {
		c.failed.Add(1)
		c.logger.Warn("The metrics pipeline refused a flush; the next one carries the same counts", zap.Error(err))
		return fmt.Errorf("flush metrics: %w", err)
	}
	c.aggregator.Delivered(collection.Sequence)
	return nil
}

// pinTimeout bounds how long a flush waits for the store's disk.
const pinTimeout = 5 * time.Second

// pin asks the store to keep the traces of exemplars that it might sample away, and gives up those exemplars if it does
// not: an exemplar without its trace is worse than none.
func (c *metricsConnector) pin(ctx context.Context, collection *tracemetrics.Collection) {
	ids := collection.Unpinned()
	if len(ids) == 0 || c.retainer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pinTimeout)
	defer cancel()
	if err := c.retainer.Pin(ctx, ids); err != nil {
		if c.unpinned.Add(int64(len(ids))) == int64(len(ids)) { // The counter tells of later ones.
			c.logger.Warn("The store does not pin the traces of exemplars; histograms without a trace that is kept anyway have none", zap.Error(err))
		}
		return
	}
	c.pinned.Add(int64(len(ids)))
	collection.Pinned()
}

// Shutdown sends what has accumulated and gives it back for the connector's successor. Spans that wait for the other side
// of their call go on waiting there.
func (c *metricsConnector) Shutdown(ctx context.Context) error {
	if c.stop == nil {
		return nil
	}
	if c.unobserve != nil {
		c.unobserve()
	}
	close(c.stop)
	<-c.done
	c.stop = nil
	err := c.flush(ctx, true)
	c.telemetry.Shutdown()
	return errors.Join(err, c.release())
}

// Accepted implements store.Observer.
func (c *metricsConnector) Accepted(b *store.Batch) {
	if c.deciding != nil {
		c.aggregator.SetSampled(c.deciding.Deciding())
	}
	c.aggregator.Count(b, time.Now())
}

// ConsumeTraces counts the spans if there is no store to observe.
func (c *metricsConnector) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	if c.cfg.Store != "" {
		return nil
	}
	rows, _ := c.rows.Get().(*pipelineRows)
	if rows == nil {
		rows = &pipelineRows{}
	}
	defer func() {
		rows.batch.Reset()
		rows.arena.Reset()
		c.rows.Put(rows)
	}()
	if err := rows.arena.Flatten(td, &rows.batch); err != nil {
		return consumererror.NewPermanent(err)
	}
	c.aggregator.Count(&rows.batch, time.Now())
	return nil
}
