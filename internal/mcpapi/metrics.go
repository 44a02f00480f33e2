package mcpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
)

const (
	// aboutSamples is how many samples a series has without a step, and maxSamples how many it may have.
	aboutSamples, maxSamples = 60, 1000
	// maxSeries is how many series are computed.
	maxSeries = 200
	exemplars = 5
)

// instantArgs are the arguments of traceql-metrics-instant.
type instantArgs struct {
	Query string `json:"query" jsonschema:"TraceQL metrics query, such as { status = error } | count_over_time() by (resource.service.name)"`
	span
}

// rangeArgs are the arguments of traceql-metrics-range.
type rangeArgs struct {
	Query string `json:"query" jsonschema:"TraceQL metrics query, such as { } | quantile_over_time(duration, .5, .99) by (resource.service.name)"`
	span
	Step string `json:"step,omitempty" jsonschema:"Time between samples as a duration, such as 30s or 5m. Without it there are about 60 samples."`
}

type metricsAnswer struct {
	Series []json.RawMessage `json:"series"`
	notes
}

type instantSeries struct {
	Labels map[string]any `json:"labels"`
	Value  any            `json:"value"`
}

type rangeSeries struct {
	Labels map[string]any `json:"labels"`
	// Samples are pairs of a time in Unix seconds and a value.
	Samples   [][2]any   `json:"samples"`
	Exemplars []exemplar `json:"exemplars,omitempty"`
}

type exemplar struct {
	Time   string         `json:"time"`
	Value  any            `json:"value"`
	Labels map[string]any `json:"labels"`
}

func (a *API) instant(ctx context.Context, _ *mcp.CallToolRequest, in instantArgs) (*mcp.CallToolResult, any, error) {
	return a.metrics(ctx, query.MetricsRequest{Query: in.Query, Instant: true}, in.span, func(s *query.Series) (any, error) {
		if len(s.Samples) == 0 {
			return nil, nil
		}
		labels, err := plainAttrs(s.Labels)
		return instantSeries{labels, number(s.Samples[0].Value)}, err
	})
}

func (a *API) overRange(ctx context.Context, _ *mcp.CallToolRequest, in rangeArgs) (*mcp.CallToolResult, any, error) {
	q := query.MetricsRequest{Query: in.Query, Exemplars: exemplars}
	if in.Step != "" {
		var err error
		if q.Step, err = time.ParseDuration(in.Step); err != nil || q.Step <= 0 {
			return nil, nil, fmt.Errorf("invalid step %q: use a duration above 0, such as 30s or 5m", in.Step)
		}
	}
	return a.metrics(ctx, q, in.span, newRangeSeries)
}

// metrics completes the question and answers what show makes of each series; nil leaves one out.
func (a *API) metrics(ctx context.Context, q query.MetricsRequest, in span, show func(*query.Series) (any, error)) (*mcp.CallToolResult, any, error) {
	if err := checkQuery("query", q.Query); err != nil {
		return nil, nil, err
	}
	var err error
	if q.StartNano, q.EndNano, err = in.nanos(a.opts.Now(), a.service.Limits().MaxMetricsRange, 0); err != nil {
		return nil, nil, err
	}
	r := time.Duration(q.EndNano - q.StartNano)
	if !q.Instant && q.Step == 0 {
		q.Step = stepFor(r)
	}
	if !q.Instant && r/q.Step > maxSamples {
		return nil, nil, fmt.Errorf("step of %s makes more than %d samples of %s: use a longer step", q.Step, maxSamples, r)
	}
	q.MaxSeries, q.Client = maxSeries, clientIn(ctx)
	res, err := a.service.Metrics(ctx, q)
	if err != nil {
		return nil, nil, failed(err)
	}
	out := metricsAnswer{Series: []json.RawMessage{}, notes: a.notes(res.Partial, res.MissingNames())}
	left := room{left: maxAnswer}
	for i := range res.Series {
		v, err := show(&res.Series[i])
		if err != nil {
			return nil, nil, err
		}
		if v == nil {
			continue
		}
		b, err := left.encode(v)
		if err != nil {
			return nil, nil, err
		}
		if b != nil {
			out.Series = append(out.Series, b)
		}
	}
	if left.omitted > 0 {
		out.truncate("%d of %d series do not fit: group by fewer attributes, add conditions, use topk() or a longer step", left.omitted, len(res.Series))
	}
	return result(out)
}

// stepFor is a whole number of seconds, where the range has as many.
func stepFor(r time.Duration) time.Duration {
	step := r / aboutSamples
	if step > time.Second {
		return step.Round(time.Second)
	}
	return max(step, time.Millisecond)
}

func newRangeSeries(s *query.Series) (any, error) {
	labels, err := plainAttrs(s.Labels)
	if err != nil {
		return nil, err
	}
	out := rangeSeries{Labels: labels, Samples: make([][2]any, len(s.Samples))}
	for i, p := range s.Samples {
		out.Samples[i] = [2]any{float64(p.TimeMillis) / 1e3, number(p.Value)}
	}
	for _, e := range s.Exemplars {
		l, err := plainAttrs(e.Labels)
		if err != nil {
			return nil, err
		}
		out.Exemplars = append(out.Exemplars, exemplar{time.UnixMilli(e.TimeMillis).UTC().Format(time.RFC3339Nano), number(e.Value), l})
	}
	return out, nil
}
