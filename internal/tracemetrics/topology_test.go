package tracemetrics

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/bramble-tracing/bramble/internal/store"
)

// topology runs one file of testdata/topology; see the README there.
type topology struct {
	t         *testing.T
	cfg       Config
	resources map[string]store.Resource
	batches   []*store.Batch // one per span
	a         *Aggregator
	now       time.Time
	reverse   bool
	want      map[string]string // labels to values
}

func TestTopologies(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "topology", "*.txt"))
	require.NoError(t, err)
	require.Len(t, files, 9)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, reverse := range []bool{false, true} {
			name := strings.TrimSuffix(filepath.Base(f), ".txt")
			t.Run(fmt.Sprintf("%s/reverse=%v", name, reverse), func(t *testing.T) {
				x := &topology{
					t: t, cfg: DefaultConfig(), now: benchTime, reverse: reverse, resources: make(map[string]store.Resource), want: make(map[string]string),
				}
				x.cfg.Node, x.cfg.IngestionTimeRangeSlack = "n1", time.Minute
				for i, line := range strings.Split(string(text), "\n") {
					if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
						x.line(fmt.Sprintf("%s:%d", f, i+1), fields[0], fields[1:])
					}
				}
				x.check()
			})
		}
	}
}

func (x *topology) line(at, verb string, args []string) {
	x.t.Helper()
	switch verb {
	case "config":
		for _, a := range args {
			x.option(a)
		}
	case "resource":
		x.resources[args[0]] = store.Resource{Attrs: attrs(args[1:])}
	case "span":
		x.span(args)
	case "advance":
		x.send()
		d, err := time.ParseDuration(args[0])
		require.NoError(x.t, err, at)
		x.now = x.now.Add(d)
		x.a.Expire(x.now)
	case "edge":
		x.edge(args)
	case "stats":
		x.send()
		s := x.a.Stats()
		assert.Equal(x.t, strings.Join(args, " "), fmt.Sprintf("expired=%d dropped=%d waiting=%d", s.ExpiredEdges, s.DroppedGraphSpans, s.PendingHalves), at)
	default:
		require.Fail(x.t, "unknown verb", "%s %s", at, verb)
	}
}

func (x *topology) option(a string) {
	key, value, _ := strings.Cut(a, "=")
	g := &x.cfg.ServiceGraph
	switch key {
	case "prefix":
		g.ClientServerPrefix = true
	case "virtual_label":
		g.VirtualNodeLabel = true
	case "messaging_latency":
		g.MessagingLatency = true
	case "dimension":
		g.Dimensions = append(g.Dimensions, value)
	case "max_items":
		n, err := strconv.Atoi(value)
		require.NoError(x.t, err)
		g.MaxItems = n
	default:
		require.Fail(x.t, "unknown option", a)
	}
}

func attrs(args []string) (out []store.Attr) {
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			out = append(out, store.Attr{Key: k, Value: store.Int(n)})
			continue
		}
		out = append(out, store.Attr{Key: k, Value: store.String(strings.ReplaceAll(v, "_", " "))})
	}
	return out
}

func (x *topology) span(args []string) {
	x.t.Helper()
	res, ok := x.resources[args[0]]
	require.True(x.t, ok, args[0])
	id := func(s string) byte {
		n, err := strconv.ParseUint(s, 10, 8)
		require.NoError(x.t, err)
		return byte(n)
	}
	duration := func(s string) uint64 {
		d, err := time.ParseDuration(s)
		require.NoError(x.t, err)
		return uint64(d) //nolint:gosec // Not negative in the files.
	}
	s := store.Span{Name: "op", Kind: int32(slices.Index(kindNames[:], "SPAN_KIND_"+args[1]))} //nolint:gosec // An index.
	require.GreaterOrEqual(x.t, s.Kind, int32(0))
	s.TraceID[15], s.SpanID[7], s.ParentID[7] = id(args[2]), id(args[3]), id(args[4])
	s.StartNano = uint64(benchTime.UnixNano()) + duration(args[5]) //nolint:gosec // After 1970.
	s.EndNano = s.StartNano + duration(args[6])
	rest := args[7:]
	if len(rest) > 0 && rest[0] == "error" {
		s.StatusCode, rest = store.StatusError, rest[1:]
	}
	s.Attrs = attrs(rest)
	x.batches = append(x.batches, &store.Batch{Resources: []store.Resource{res}, Scopes: []store.Scope{{}}, Spans: []store.Span{s}})
}

// send gives the spans so far to the aggregator.
func (x *topology) send() {
	if x.a == nil {
		a, err := New(x.cfg, benchTime)
		require.NoError(x.t, err)
		x.a = a
	}
	if x.reverse {
		slices.Reverse(x.batches)
	}
	for _, b := range x.batches {
		x.a.Count(b, x.now)
	}
	x.batches = nil
}

func (x *topology) edge(args []string) {
	labels := map[string]string{"client": args[0], "server": args[1], "node": "n1"}
	values := map[string]string{"failed": "0"}
	for _, a := range args[2:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "total", "failed", "server", "client", "delay":
			values[k] = v
		default:
			labels[k] = v
		}
	}
	x.want[canonical(labels)] = canonical(values)
}

func canonical(m map[string]string) string {
	var parts []string
	for k, v := range m {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// check compares the edges, and of each the values that its line names.
func (x *topology) check() {
	x.t.Helper()
	got := make(map[string]map[string]string)
	set := func(labels map[string]string, key string, v float64) {
		c := canonical(labels)
		if got[c] == nil {
			got[c] = make(map[string]string)
		}
		got[c][key] = strconv.FormatFloat(float64(int64(v*1e9+0.5))/1e9, 'g', -1, 64)
	}
	for _, p := range newest(x.a.Collect(x.now, false).Metrics) {
		switch p.name {
		case metricRequests:
			set(p.labels, "total", p.value)
		case metricFailed:
			set(p.labels, "failed", p.value)
		case metricServerTime:
			set(p.labels, "server", p.hist.Sum())
		case metricClientTime:
			set(p.labels, "client", p.hist.Sum())
		case metricMessageDelay:
			set(p.labels, "delay", p.hist.Sum())
		}
	}
	edges := make(map[string]string)
	for labels, values := range got {
		for k := range values {
			if !strings.Contains(" "+x.want[labels], " "+k+"=") && x.want[labels] != "" {
				delete(values, k)
			}
		}
		edges[labels] = canonical(values)
	}
	assert.Equal(x.t, x.want, edges)
}

// point is the newest point of a series.
type point struct {
	name   string
	labels map[string]string
	nano   int64
	value  float64
	hist   pmetric.HistogramDataPoint
	native pmetric.ExponentialHistogramDataPoint
	stale  bool
}

// pointsOf lists all points of a collection.
func pointsOf(md pmetric.Metrics) (out []point) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				out = append(out, metricPoints(m)...)
			}
		}
	}
	return out
}

func metricPoints(m pmetric.Metric) (out []point) {
	labels := func(raw map[string]any) map[string]string {
		l := make(map[string]string)
		for k, v := range raw {
			l[k] = v.(string)
		}
		return l
	}
	numbers := func(ps pmetric.NumberDataPointSlice) {
		for _, p := range ps.All() {
			out = append(out, point{
				name: m.Name(), labels: labels(p.Attributes().AsRaw()), nano: p.Timestamp().AsTime().UnixNano(), value: p.DoubleValue(), stale: p.Flags().NoRecordedValue(),
			})
		}
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		numbers(m.Sum().DataPoints())
	case pmetric.MetricTypeGauge:
		numbers(m.Gauge().DataPoints())
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			out = append(out, point{
				name: m.Name(), labels: labels(p.Attributes().AsRaw()), nano: p.Timestamp().AsTime().UnixNano(), value: float64(p.Count()), hist: p, stale: p.Flags().NoRecordedValue(),
			})
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			out = append(out, point{
				name: m.Name() + " native", labels: labels(p.Attributes().AsRaw()), nano: p.Timestamp().AsTime().UnixNano(), value: float64(p.Count()), native: p, stale: p.Flags().NoRecordedValue(),
			})
		}
	}
	return out
}

// newest keeps the newest point of each series.
func newest(md pmetric.Metrics) (out []point) {
	index := make(map[string]int)
	for _, p := range pointsOf(md) {
		key := p.name + " " + canonical(p.labels)
		if i, ok := index[key]; ok {
			if p.nano > out[i].nano {
				out[i] = p
			}
			continue
		}
		index[key] = len(out)
		out = append(out, p)
	}
	return out
}
