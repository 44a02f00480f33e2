package tracemetrics

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// serviceGraph makes edges of pairs of spans (N-20 to N-30).
type serviceGraph struct {
	on           bool
	table        *table
	spec         histogramSpec
	pending      *pending
	wait         int64 // nanoseconds
	prefix       bool
	messageDelay bool
	virtualLabel bool
	pins         bool
	dims         []dimension
	weight       weigher
	stats        graphStats

	// Indexes in the span picker and in the resource picker, in order of preference.
	peer, peerResource, database            []int
	peerService, serverAddr, netAddr, netPo int
}

type graphStats struct {
	edges, expired, dropped atomic.Int64
}

// Indexes into series.hists of an edge.
const (
	histServer = iota
	histClient
	histMessage
)

func newServiceGraph(c *Config, resource, span *picker, seed maphash.Seed) (*serviceGraph, error) {
	labels, err := graphLabels(c)
	if err != nil {
		return nil, err
	}
	sc := &c.ServiceGraph
	g := &serviceGraph{
		on:           c.produces(ProcessorServiceGraphs),
		table:        newTable(c, labels, seed),
		spec:         newHistogramSpec(c, sc.Buckets),
		pending:      newPending(sc.MaxItems, c.MaxLabelValueLength),
		wait:         int64(sc.Wait),
		prefix:       sc.ClientServerPrefix,
		messageDelay: sc.MessagingLatency,
		virtualLabel: sc.VirtualNodeLabel,
		pins:         c.Exemplars.pins(),
	}
	if !g.on {
		return g, nil
	}
	g.weight = newWeigher(&sc.Weighting, resource, span)
	for _, d := range sc.Dimensions {
		g.dims = append(g.dims, dimension{resource: []int{resource.add(d)}, span: []int{span.add(d)}})
	}
	g.peer, g.peerResource, g.database = span.addAll(sc.PeerAttributes), resource.addAll(sc.PeerAttributes), span.addAll(sc.DatabaseAttributes)
	g.peerService, g.serverAddr = span.add("peer.service"), span.add("server.address")
	g.netAddr, g.netPo = span.add("network.peer.address"), span.add("network.peer.port")
	return g, nil
}

// edge is a complete edge. Its strings may be a batch's.
type edge struct {
	client, server, connection, virtual string
	clientHash, serverHash              uint64 // of the names
	clientDims, serverDims              []string
	clientSeconds, serverSeconds        float64
	delaySeconds                        float64
	failed                              bool
	keep                                bool
	weight                              float64
	trace                               spanid.TraceID
	clientSpan, serverSpan              spanid.SpanID
}

// count takes one span. span holds what the span picker found.
func (g *serviceGraph) count(s *store.Span, r *resourceRow, span []*store.Value, keep bool, sc *scratch, now int64) {
	client := s.Kind == store.KindClient || s.Kind == store.KindProducer
	if !client && s.Kind != store.KindServer && s.Kind != store.KindConsumer || r.service == "" {
		return
	}
	h := half{
		client: client, service: r.service, serviceHash: r.serviceHash, seconds: float64(s.DurationNano()) / 1e9, weight: g.weight.of(s, r, span), span: s.SpanID,
		failed: s.StatusCode == store.StatusError, messaging: s.Kind == store.KindProducer || s.Kind == store.KindConsumer,
		keep: keep, dims: g.dimensions(r, span, sc),
	}
	switch {
	case client && g.databaseCall(s, &h, span, sc, now):
	case !client && s.ParentID.IsZero():
		// No client span can have the id of zeros: there is nothing to wait for.
		g.virtual(edgeKey{trace: s.TraceID}, &h, g.peerName(r, span), sc, now)
	case client:
		h.peer, h.edgeNano = g.peerName(r, span), s.EndNano
		g.pair(edgeKey{s.TraceID, s.SpanID}, &h, sc, now)
	default:
		h.edgeNano = s.StartNano
		g.pair(edgeKey{s.TraceID, s.ParentID}, &h, sc, now)
	}
}

func (g *serviceGraph) dimensions(r *resourceRow, span []*store.Value, sc *scratch) []string {
	if len(g.dims) == 0 {
		return nil
	}
	sc.dims = sc.dims[:0]
	for i := range g.dims {
		sc.dims = append(sc.dims, g.dims[i].value(r, span))
	}
	return sc.dims
}

// first is the text of the first of the attributes that is there and not empty.
func first(span []*store.Value, idx []int) string {
	for _, i := range idx {
		if v := span[i]; v != nil {
			if s := text(v); s != "" {
				return s
			}
		}
	}
	return ""
}

// peerName is what names the missing side of an edge (N-26).
func (g *serviceGraph) peerName(r *resourceRow, span []*store.Value) string {
	for i := range g.peer {
		if s := attrText(span[g.peer[i]], r.values[g.peerResource[i]]); s != "" {
			return s
		}
	}
	return ""
}

// databaseCall makes an edge of a client span alone if it calls a database (N-25).
func (g *serviceGraph) databaseCall(s *store.Span, h *half, span []*store.Value, sc *scratch, now int64) bool {
	db := first(span, g.database)
	if db == "" {
		return false
	}
	name := first(span, []int{g.peerService, g.serverAddr, g.netAddr})
	switch {
	case name == "":
		name = db
	case first(span, []int{g.peerService, g.serverAddr}) == "":
		if port := first(span, []int{g.netPo}); port != "" {
			name += ":" + port
		}
	}
	g.add(&edge{
		client: h.service, clientHash: h.serviceHash, server: name, serverHash: valueHash(g.table.seed, name), connection: connDatabase, clientDims: h.dims,
		clientSeconds: h.seconds, serverSeconds: h.seconds, failed: h.failed, keep: h.keep, weight: h.weight,
		trace: s.TraceID, clientSpan: s.SpanID, serverSpan: s.SpanID,
	}, sc, now)
	return true
}

// pair completes an edge or lets the half wait.
func (g *serviceGraph) pair(key edgeKey, h *half, sc *scratch, now int64) {
	var other half
	o := g.pending.put(key, h, &other, now+g.wait)
	if o == outcomeDropped {
		// What is overdue may make room.
		g.Expire(sc, now)
		o = g.pending.put(key, h, &other, now+g.wait)
	}
	switch o {
	case outcomeDropped:
		g.stats.dropped.Add(1)
		return
	case outcomeReplaced:
		g.stats.expired.Add(1)
		return
	case outcomeWaits:
		return
	case outcomePaired:
	}
	c, s := h, &other
	if !h.client {
		c, s = &other, h
	}
	e := edge{
		client: c.service, clientHash: c.serviceHash, server: s.service, serverHash: s.serviceHash, clientDims: c.dims, serverDims: s.dims,
		clientSeconds: c.seconds, serverSeconds: s.seconds, failed: c.failed || s.failed, keep: c.keep || s.keep,
		weight: max(c.weight, s.weight), trace: key.trace, clientSpan: c.span, serverSpan: s.span,
	}
	if c.messaging || s.messaging {
		e.connection = connMessaging
		if s.edgeNano > c.edgeNano {
			e.delaySeconds = float64(s.edgeNano-c.edgeNano) / 1e9
		}
	}
	g.add(&e, sc, now)
}

// virtual makes an edge of a half whose other side is not instrumented (N-26, N-27).
func (g *serviceGraph) virtual(key edgeKey, h *half, name string, sc *scratch, now int64) {
	e := edge{
		connection: connVirtual, failed: h.failed, keep: h.keep, weight: h.weight, trace: key.trace, clientSpan: h.span, serverSpan: h.span,
	}
	if h.client {
		e.client, e.server, e.virtual, e.clientDims, e.clientSeconds = h.service, name, "server", h.dims, h.seconds
		e.clientHash, e.serverHash = h.serviceHash, valueHash(g.table.seed, name)
	} else {
		if name == "" {
			name = "user"
		}
		e.client, e.server, e.virtual, e.serverDims, e.serverSeconds = name, h.service, "client", h.dims, h.seconds
		e.clientHash, e.serverHash = valueHash(g.table.seed, name), h.serviceHash
	}
	g.add(&e, sc, now)
}

// Expire decides about the halves that have waited long enough.
func (g *serviceGraph) Expire(sc *scratch, now int64) {
	sc.expired = g.pending.expire(-1, now, sc.expired[:0])
	for i := range sc.expired {
		x := &sc.expired[i]
		if x.client && x.peer != "" {
			g.virtual(x.key, &x.half, x.peer, sc, now)
		} else {
			g.stats.expired.Add(1)
		}
	}
	clear(sc.expired)
}

// add counts an edge.
func (g *serviceGraph) add(e *edge, sc *scratch, now int64) {
	vals := sc.vals[:0]
	vals = append(vals, e.client, e.server)
	hash := mix(mix(0, e.clientHash), e.serverHash)
	vals = append(vals, e.connection)
	if g.virtualLabel {
		vals = append(vals, e.virtual)
	}
	vals = g.appendDims(vals, e)
	vals = append(vals, "") // overflow
	for _, v := range vals[2:] {
		hash = mix(hash, valueHash(g.table.seed, v))
	}
	sc.vals = vals

	g.stats.edges.Add(1)
	sh, x := g.table.acquire(vals, hash)
	defer sh.mu.Unlock()
	x.seen = now
	x.counters[0] += e.weight
	if e.failed {
		x.counters[1] += e.weight
	}
	g.observe(&x.hists[histServer], e.serverSeconds, e, e.serverSpan, now)
	g.observe(&x.hists[histClient], e.clientSeconds, e, e.clientSpan, now)
	if g.messageDelay && e.connection == connMessaging {
		g.observe(&x.hists[histMessage], e.delaySeconds, e, e.serverSpan, now)
	}
}

func (g *serviceGraph) observe(h *histogram, seconds float64, e *edge, span spanid.SpanID, now int64) {
	switch b := h.add(&g.spec, seconds, e.weight); {
	case b >= 0 && e.keep:
		h.setExemplar(b, exemplar{value: seconds, nano: now, trace: e.trace, span: span})
	case !e.keep && g.pins:
		h.setSpare(exemplar{value: seconds, nano: now, trace: e.trace, span: span})
	}
}

// appendDims appends the values of the dimensions: the client's and then the server's with prefixes, otherwise the
// client's or, where it has none, the server's.
func (g *serviceGraph) appendDims(vals []string, e *edge) []string {
	at := func(dims []string, i int) string {
		if i < len(dims) {
			return dims[i]
		}
		return ""
	}
	for i := range g.dims {
		v := at(e.clientDims, i)
		if v == "" && !g.prefix {
			v = at(e.serverDims, i)
		}
		vals = append(vals, v)
	}
	if g.prefix {
		for i := range g.dims {
			vals = append(vals, at(e.serverDims, i))
		}
	}
	return vals
}
