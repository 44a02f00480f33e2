package tracemetrics

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Aggregator accumulates the metrics of spans. All methods are safe for concurrent use.
type Aggregator struct {
	cfg      Config
	resource picker
	span     picker
	seed     maphash.Seed
	// everySpan: attributes of spans that are no edge's are needed, too.
	everySpan bool
	slack     int64

	spans   *spanMetrics
	graph   *serviceGraph
	targets *infoMetric
	hosts   *infoMetric
	hostIDs []int
	// service, namespace and instance are indexes in the resource picker.
	service, namespace, instance int
	keep                         keeper
	sampled                      atomic.Bool

	counted, discarded atomic.Int64
	scratch            sync.Pool // *scratch

	// collect guards what follows and keeps collections apart.
	collect   sync.Mutex
	lastNano  int64  // time of the newest point that was collected, at first that of New
	sequence  uint64 // of the newest collection
	delivered uint64
}

// scratch is the memory of one Count.
type scratch struct {
	resources []resourceRow
	found     []*store.Value // of all resources
	span      []*store.Value
	vals      []string
	dims      []string
	expired   []expired
	// trace is the last one whose id was looked at, kept what came of it.
	trace spanid.TraceID
	kept  bool
	// unknown: no trace is certain to be kept.
	unknown bool
}

// resourceRow is what is needed of a resource.
type resourceRow struct {
	done                   bool
	service, job, instance string
	serviceHash            uint64         // valueHash of service
	values                 []*store.Value // by the resource picker
}

// New returns an empty aggregator. Its first series start at now. The configuration must not be changed afterwards.
func New(cfg Config, now time.Time) (*Aggregator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Node == "" {
		return nil, errors.New("node: must not be empty: without it the nodes of a DaemonSet overwrite each other's series")
	}
	a := &Aggregator{cfg: cfg, slack: int64(cfg.IngestionTimeRangeSlack), lastNano: now.UnixNano(), keep: newKeeper(&cfg.Exemplars)}
	a.seed = maphash.MakeSeed()
	a.service, a.namespace, a.instance = a.resource.add(attrService), a.resource.add(attrNamespace), a.resource.add(attrInstance)
	var err error
	if a.spans, err = newSpanMetrics(&cfg, &a.resource, &a.span, a.seed); err != nil {
		return nil, fmt.Errorf("span metrics: %w", err)
	}
	if k := cfg.ServiceGraph.Weighting.MultiplierKey; k != "" && cfg.produces(ProcessorServiceGraphs) {
		a.span.add(k)
	}
	for _, d := range cfg.ServiceGraph.Dimensions {
		a.span.add(d)
	}
	a.everySpan = len(a.span.keys) > 0
	if a.graph, err = newServiceGraph(&cfg, &a.resource, &a.span, a.seed); err != nil {
		return nil, fmt.Errorf("service graph: %w", err)
	}
	a.targets, a.hosts = newTargetInfo(&cfg, a.seed), newHostInfo(&cfg, a.seed)
	a.hostIDs = a.resource.addAll(cfg.HostInfo.Identifiers)
	return a, nil
}

// Count counts the spans of a batch that arrived at now. The batch is neither changed nor kept.
func (a *Aggregator) Count(b *store.Batch, now time.Time) {
	sc, _ := a.scratch.Get().(*scratch)
	if sc == nil {
		sc = &scratch{span: make([]*store.Value, len(a.span.keys))}
	}
	nano := now.UnixNano()
	sc.unknown = a.keep.all && a.sampled.Load()
	sc.begin(len(b.Resources), len(a.resource.keys))
	var counted, discarded int64
	for i := range b.Spans {
		s := &b.Spans[i]
		if a.slack > 0 && a.outside(s.EndNano, nano) || s.Resource < 0 || int(s.Resource) >= len(b.Resources) {
			discarded++
			continue
		}
		counted++
		r := &sc.resources[s.Resource]
		if !r.done {
			a.readResource(r, &b.Resources[s.Resource], nano)
		}
		if a.everySpan || s.Kind == store.KindClient || s.Kind == store.KindProducer || s.ParentID.IsZero() {
			a.span.pick(s.Attrs, sc.span)
		}
		keep := a.keep.certain(s, sc)
		if a.spans.on {
			sc.vals = a.spans.count(s, r, sc.span, keep, nano, sc.vals[:0])
		}
		if a.graph.on {
			a.graph.count(s, r, sc.span, keep, sc, nano)
		}
	}
	a.counted.Add(counted)
	a.discarded.Add(discarded)
	sc.end()
	a.scratch.Put(sc)
}

// SetSampled says whether something decides which traces are kept. While it does and the configuration does not say what
// (KeptPercentage is 100), no trace is certain to be kept, and exemplars are of pinned traces only.
func (a *Aggregator) SetSampled(sampled bool) {
	if a.sampled.Load() != sampled { // Mostly it is, and writing would slow others down.
		a.sampled.Store(sampled)
	}
}

// outside reports whether a span ended too far from now (N-07).
func (a *Aggregator) outside(endNano uint64, now int64) bool {
	d := now - int64(endNano) //nolint:gosec // Wraps for absurd times, which are then outside.
	return d > a.slack || d < -a.slack
}

func (a *Aggregator) readResource(r *resourceRow, res *store.Resource, now int64) {
	r.done = true
	a.resource.pick(res.Attrs, r.values)
	r.service = attrText(r.values[a.service], nil)
	r.serviceHash = valueHash(a.seed, r.service)
	if a.targets.on {
		r.job, r.instance = r.service, attrText(r.values[a.instance], nil)
		if ns := attrText(r.values[a.namespace], nil); ns != "" && r.job != "" {
			r.job = ns + "/" + r.job
		}
		a.targets.target(r, res.Attrs, now)
	}
	if a.hosts.on {
		a.hosts.host(r, a.hostIDs, a.cfg.HostInfo.Identifiers, now)
	}
}

func (sc *scratch) begin(resources, keys int) {
	if cap(sc.resources) < resources {
		sc.resources = make([]resourceRow, resources)
	}
	sc.resources = sc.resources[:resources]
	if need := resources * keys; cap(sc.found) < need {
		sc.found = make([]*store.Value, need)
	}
	for i := range sc.resources {
		sc.resources[i] = resourceRow{values: sc.found[i*keys : (i+1)*keys : (i+1)*keys]}
	}
}

// maxScratch bounds what a pooled scratch keeps, in resources.
const maxScratch = 1 << 12

// end forgets the batch, so that a pooled scratch does not hold its strings.
func (sc *scratch) end() {
	if len(sc.resources) > maxScratch {
		*sc = scratch{span: sc.span, vals: sc.vals, dims: sc.dims, trace: sc.trace, kept: sc.kept}
	}
	clear(sc.resources)
	clear(sc.found)
	clear(sc.span)
	clear(sc.vals[:cap(sc.vals)])
	clear(sc.dims[:cap(sc.dims)])
}

// Expire decides about service-graph spans whose other side has not come in time. Collect does it, too.
func (a *Aggregator) Expire(now time.Time) {
	if !a.graph.on {
		return
	}
	sc := &scratch{}
	a.graph.Expire(sc, now.UnixNano())
}

// Stats are the aggregator's own numbers. Those that count are cumulative.
type Stats struct {
	Spans, DiscardedSpans                                 int64
	SpanSeries, GraphSeries, InfoSeries                   int64
	SpanOverflow, GraphOverflow, InfoOverflow             int64 // updates of the overflow series
	SpanValuesOverflow, GraphValuesOverflow               int64 // spans or edges with a replaced label value
	Edges, ExpiredEdges, DroppedGraphSpans, PendingHalves int64
}

// Stats returns the numbers of now.
func (a *Aggregator) Stats() Stats {
	s, g, i, h := a.spans.table.stats, a.graph.table.stats, a.targets.table.stats, a.hosts.table.stats
	return Stats{
		Spans: a.counted.Load(), DiscardedSpans: a.discarded.Load(),
		SpanSeries: s.active.Load(), GraphSeries: g.active.Load(), InfoSeries: i.active.Load() + h.active.Load(),
		SpanOverflow: s.overflowSeries.Load(), GraphOverflow: g.overflowSeries.Load(),
		InfoOverflow:       i.overflowSeries.Load() + h.overflowSeries.Load(),
		SpanValuesOverflow: s.overflowValues.Load(), GraphValuesOverflow: g.overflowValues.Load(),
		Edges: a.graph.stats.edges.Load(), ExpiredEdges: a.graph.stats.expired.Load(), DroppedGraphSpans: a.graph.stats.dropped.Load(),
		PendingHalves: a.graph.pending.count.Load(),
	}
}
