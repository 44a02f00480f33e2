package piiprocessor

import (
	"context"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// tally counts the hits of one resource's spans before they are written to metrics and ledger.
type tally struct {
	lines []line
}

type line struct {
	rule  int
	place pii.Place
	count int
	shape string
}

func (t *tally) any() bool { return len(t.lines) > 0 }

func (t *tally) add(h pii.Hit, place pii.Place) {
	for i := range t.lines {
		if l := &t.lines[i]; l.rule == h.Rule && l.place == place {
			l.count += h.Count
			return
		}
	}
	t.lines = append(t.lines, line{rule: h.Rule, place: place, count: h.Count, shape: h.Shape})
}

// flush counts under the resource's service.
func (w *walker) flush(ctx context.Context, res pcommon.Resource) {
	service := ""
	if v, ok := res.Attributes().Get("service.name"); ok && v.Type() == pcommon.ValueTypeStr {
		service = v.Str()
	}
	service = w.p.ledger.Service(service, w.p.config.MaxServices)
	for _, l := range w.tally.lines {
		info := &w.infos[l.rule]
		action := info.Action.String()
		if !w.enforce {
			action = modeReport
		}
		w.p.ledger.Add(info.Name, service, l.place, uint64(l.count), l.shape) //nolint:gosec // A count.
		w.p.tel.ProcessorPiiHits.Add(ctx, int64(l.count), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("rule", info.Name), attribute.String("place", l.place.String()),
			attribute.String("service", service), attribute.String("action", action))))
	}
	w.tally.lines = w.tally.lines[:0]
}

// report counts what concerns the batch.
func (w *walker) report(ctx context.Context) {
	if w.changed > 0 {
		w.p.tel.ProcessorPiiSpansChanged.Add(ctx, w.changed)
	}
	if w.dropped > 0 {
		w.p.tel.ProcessorPiiSpansDropped.Add(ctx, w.dropped)
	}
	if w.deep > 0 {
		w.p.tel.ProcessorPiiDeepValuesDropped.Add(ctx, w.deep)
	}
	if w.dropped > 0 || w.deep > 0 {
		w.p.ledger.AddDropped(uint64(w.dropped), uint64(w.deep)) //nolint:gosec // Counts.
	}
}

func outcome(o string) metric.AddOption {
	return metric.WithAttributes(attribute.String("outcome", o))
}
