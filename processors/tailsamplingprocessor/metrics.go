package tailsamplingprocessor

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/store"
)

var (
	attrKept    = attribute.String("decision", "kept")
	attrDropped = attribute.String("decision", "dropped")
)

// count adds decisions to the metrics.
func (p *storeProcessor) count(ctx context.Context, results []sampling.Result) {
	traces := map[store.Decision]int64{}
	var spans [2]int64
	var bytes [2]float64
	for i := range results {
		r := &results[i]
		traces[r.Decision]++
		k := 0
		if r.Keep {
			k = 1
		}
		spans[k] += int64(r.Spans)
		bytes[k] += r.Bytes
	}
	for d, n := range traces {
		attr := attrDropped
		if d.Keep {
			attr = attrKept
		}
		p.tel.ProcessorTailSamplingStoreDecisions.Add(ctx, n, metric.WithAttributes(attr, attribute.String("policy", d.Policy)))
	}
	for k, attr := range []attribute.KeyValue{attrDropped, attrKept} {
		p.tel.ProcessorTailSamplingStoreSpans.Add(ctx, spans[k], metric.WithAttributes(attr))
		p.tel.ProcessorTailSamplingStoreBytes.Add(ctx, int64(bytes[k]), metric.WithAttributes(attr))
	}
}

// observeOldest reports the age of the oldest part with traces that are not decided.
func (p *storeProcessor) observeOldest(ctx context.Context, o metric.Float64Observer) error {
	v, err := p.store.View()
	if err != nil {
		return fmt.Errorf("look for undecided traces: %w", err)
	}
	defer v.Release()
	oldest, err := sampling.OldestUndecided(ctx, v)
	if err != nil {
		return fmt.Errorf("look for undecided traces: %w", err)
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, time.Since(oldest).Seconds())
	}
	o.Observe(age)
	return nil
}
