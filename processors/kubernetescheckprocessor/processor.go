package kubernetescheckprocessor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/processors/kubernetescheckprocessor/internal/metadata"
)

// MetadataCheck is the name of the check that the processor reports.
const MetadataCheck = "kubernetes/metadata"

// recent is how long a span without metadata keeps the check from being ok.
const recent = 10 * time.Minute

// tally counts what one processor has seen since the process started.
type tally struct {
	spans   atomic.Int64
	without [numReasons]atomic.Int64
	// last is when a span without metadata was last seen, said when the reason was last logged, both in Unix nanoseconds;
	// told is the count at that time.
	last       atomic.Int64
	said, told [numReasons]atomic.Int64
}

type checkProcessor struct {
	cfg *Config
	set processor.Settings
	now func() time.Time

	nodes     map[netip.Addr]bool
	source    *selfcheck.Source
	telemetry *metadata.TelemetryBuilder
	*tally
	release func() error
}

func newProcessor(set processor.Settings, cfg *Config) *checkProcessor {
	return &checkProcessor{cfg: cfg, set: set, now: time.Now}
}

func (p *checkProcessor) start(context.Context, component.Host) (err error) {
	value, release, err := procstate.Default.Acquire("kubernetes_check/tally "+p.set.ID.String(), "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: &tally{}}, nil
	})
	if err != nil {
		return fmt.Errorf("find the counts: %w", err)
	}
	p.tally, p.release = value.(*tally), release
	if p.source, err = selfcheck.Join(p.set.ID.String() + " (processor)"); err != nil {
		return fmt.Errorf("find the board of checks: %w", err)
	}
	p.nodes = nodeAddresses()
	p.source.ReportFunc(p.report)
	if p.telemetry, err = metadata.NewTelemetryBuilder(p.set.TelemetrySettings); err != nil {
		return err
	}
	return errors.Join(
		p.telemetry.RegisterProcessorKubernetesCheckSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(p.spans.Load())
			return nil
		}),
		p.telemetry.RegisterProcessorKubernetesCheckSpansWithoutMetadataCallback(func(_ context.Context, o metric.Int64Observer) error {
			for r := range numReasons {
				o.Observe(p.without[r].Load(), metric.WithAttributes(attribute.String("reason", r.String())))
			}
			return nil
		}))
}

func (p *checkProcessor) shutdown(context.Context) error {
	if p.telemetry != nil {
		p.telemetry.Shutdown()
	}
	err := p.source.Leave()
	if p.release != nil {
		err = errors.Join(err, p.release())
	}
	return err
}

// processTraces looks and passes on.
func (p *checkProcessor) processTraces(ctx context.Context, td ptrace.Traces) (ptrace.Traces, error) {
	all := td.ResourceSpans()
	for i := range all.Len() {
		rs := all.At(i)
		spans := int64(0)
		for j := range rs.ScopeSpans().Len() {
			spans += int64(rs.ScopeSpans().At(j).Spans().Len())
		}
		p.spans.Add(spans)
		if spans > 0 && !p.complete(rs.Resource().Attributes()) {
			from := addressOf(client.FromContext(ctx))
			p.note(judge(rs.Resource().Attributes(), from, p.nodes, p.source.Board().State), spans, from)
		}
	}
	return td, nil
}

// complete says that a resource has metadata.
func (p *checkProcessor) complete(resource pcommon.Map) bool {
	for _, name := range p.cfg.Attributes {
		if v, ok := resource.Get(name); !ok || v.Type() == pcommon.ValueTypeStr && v.Str() == "" {
			return false
		}
	}
	return true
}

// note counts, and logs if that was not done for a while. The line has nothing of the spans but the sender's address.
func (p *checkProcessor) note(r reason, spans int64, from netip.Addr) {
	now := p.now().UnixNano()
	count := p.without[r].Add(spans)
	p.last.Store(now)
	said := p.said[r].Load()
	if said != 0 && now-said < int64(p.cfg.LogInterval) || !p.said[r].CompareAndSwap(said, now) {
		return
	}
	fields := []zap.Field{zap.Stringer("reason", r), zap.Int64("spans", count-p.told[r].Swap(count)), zap.String("to_do", advice[r])}
	if from.IsValid() {
		fields = append(fields, zap.Stringer("sender", from))
	}
	p.set.Logger.Warn("Spans have no Kubernetes metadata", fields...)
}

// report is the check on the board.
func (p *checkProcessor) report() []selfcheck.Check {
	c := selfcheck.Check{Name: MetadataCheck, State: selfcheck.OK}
	var found []string
	most, total := unknownPod, int64(0)
	for r := range numReasons {
		if n := p.without[r].Load(); n > 0 {
			found = append(found, fmt.Sprintf("%s=%d", r, n))
			total += n
			if n > p.without[most].Load() {
				most = r
			}
		}
	}
	spans := p.spans.Load()
	if total == 0 {
		c.Detail = fmt.Sprintf("%s: all of %d spans have metadata", p.set.ID, spans)
		return []selfcheck.Check{c}
	}
	c.Detail = fmt.Sprintf("%s: %d of %d spans have no metadata: %s", p.set.ID, total, spans, strings.Join(found, " "))
	if last := time.Unix(0, p.last.Load()); p.now().Sub(last) < recent {
		c.State, c.Fix = selfcheck.Warn, most.String()+": "+advice[most]
	} else {
		c.Detail += "; the last at " + last.UTC().Format(time.RFC3339)
	}
	return []selfcheck.Check{c}
}
