package tempoapi

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

const (
	// maxSamples is how many steps a range may have (M-04).
	maxSamples = 10_000
	// metricsWindow is the range without a start (C-16).
	metricsWindow = time.Hour
)

// rangeParams decodes the parameters of /api/metrics/query_range (M-01).
func (a *API) rangeParams(r *http.Request) (q query.MetricsRequest, err error) {
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	if err := a.metricsBasics(&q, r, p); err != nil {
		return q, err
	}
	step, set, err := stepParam(p)
	if err != nil {
		return q, err
	}
	exemplars, err := numberParam(p, "exemplars", 0)
	if err != nil {
		return q, err
	}
	series, err := numberParam(p, "maxSeries", 0)
	if err != nil {
		return q, err
	}
	q.Exemplars, q.MaxSeries = int(exemplars), int(series)
	if v := p.Get("instant"); v != "" {
		if q.Instant, err = strconv.ParseBool(v); err != nil {
			return q, badRequestf("invalid instant: %q is neither true nor false", v)
		}
	}
	return q, a.finishMetrics(&q, step, set)
}

// instantParams decodes the parameters of /api/metrics/query (M-02).
func (a *API) instantParams(r *http.Request) (q query.MetricsRequest, err error) {
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	q.Instant = true
	if err := a.metricsBasics(&q, r, p); err != nil {
		return q, err
	}
	return q, a.finishMetrics(&q, 0, false)
}

func (a *API) metricsBasics(q *query.MetricsRequest, r *http.Request, p url.Values) error {
	q.Client, q.Query = clientOf(r), p.Get("q")
	if q.Query == "" {
		q.Query = p.Get("query")
	}
	since, hasSince, err := sinceParam(p)
	if err != nil {
		return err
	}
	start, hasStart, err := timeParam(p, "start")
	if err != nil {
		return err
	}
	end, hasEnd, err := timeParam(p, "end")
	if err != nil {
		return err
	}
	now := uint64(a.opts.Now().UnixNano())
	if hasSince && q.Instant { // C-15: it wins there.
		hasStart, hasEnd = false, false
	}
	if !hasEnd {
		end = now
	}
	if !hasStart {
		back := metricsWindow
		if hasSince {
			back = since
		}
		start = min(end, now) - min(uint64(back), min(end, now))
	}
	q.StartNano, q.EndNano = start, end
	return nil
}

func (a *API) protoRange(m *tempopb.QueryRangeRequest, client string) (query.MetricsRequest, error) {
	q := query.MetricsRequest{
		Query: m.GetQuery(), Exemplars: int(m.GetExemplars()), MaxSeries: int(m.GetMaxSeries()), Instant: m.GetInstant(), Client: client,
	}
	a.protoMetricsWindow(&q, m.GetStart(), m.GetEnd())
	if m.GetStep() > math.MaxInt64 {
		return q, badRequestf("invalid step: %d is out of range", m.GetStep())
	}
	return q, a.finishMetrics(&q, time.Duration(m.GetStep()), m.GetStep() > 0)
}

func (a *API) protoInstant(m *tempopb.QueryInstantRequest, client string) (query.MetricsRequest, error) {
	q := query.MetricsRequest{Query: m.GetQuery(), Instant: true, Client: client}
	a.protoMetricsWindow(&q, m.GetStart(), m.GetEnd())
	return q, a.finishMetrics(&q, 0, false)
}

// protoMetricsWindow fills in what is 0, which means absent.
func (a *API) protoMetricsWindow(q *query.MetricsRequest, start, end uint64) {
	now := uint64(a.opts.Now().UnixNano())
	if end == 0 {
		end = now
	}
	if start == 0 {
		start = min(end, now) - min(uint64(metricsWindow), min(end, now))
	}
	q.StartNano, q.EndNano = start, end
}

// finishMetrics checks the range and the step, and chooses one if there is none (M-03, M-04, section 6.4).
func (a *API) finishMetrics(q *query.MetricsRequest, step time.Duration, set bool) error {
	if err := checkQuerySize("q", q.Query); err != nil {
		return err
	}
	if q.EndNano > math.MaxInt64 {
		return badRequestf("invalid end: %d ns is too far in the future", q.EndNano)
	}
	if q.StartNano > q.EndNano {
		return badRequestf("end must be greater than start")
	}
	r := time.Duration(q.EndNano - q.StartNano)
	if most := a.service.Limits().MaxMetricsRange; most > 0 && r > most {
		return badRequestf("metrics query time range exceeds the maximum allowed duration of %s", most)
	}
	if q.Instant {
		return nil
	}
	if !set {
		step = query.DefaultStep(r)
	}
	if least := (r + maxSamples - 1) / maxSamples; step <= 0 || step < least {
		return badRequestf("step of %s is too small, minimum step for given range is %s", step, max(roundUp(least, time.Millisecond), time.Millisecond))
	}
	q.Step = step
	return nil
}

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }
