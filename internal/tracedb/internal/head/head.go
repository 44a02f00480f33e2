package head

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// DefaultMaxColumns is the number of attribute columns beyond which attributes go to the overflow list.
const DefaultMaxColumns = 1024

// MaxRows is the number of spans that a head can hold.
const MaxRows = 1 << 30

// Options configures a Head. The zero value is usable.
type Options struct {
	// MaxColumns bounds the attribute columns of all scopes together; 0 means DefaultMaxColumns.
	MaxColumns int
}

// Head is a set of spans in memory. One goroutine at a time appends; any number may read Parts of it.
type Head struct {
	id   string
	opts Options
	seed maphash.Seed

	snap      atomic.Pointer[snapshot]
	bytes     atomic.Int64
	memos     memoCache
	catalogue catalogue

	// Columns. The appender writes them, readers see what their snapshot covers.
	ids        chunks[ids]
	start, end chunks[uint64]
	kind       chunks[int32]
	status     chunks[int32]
	flags      chunks[uint32]
	name       chunks[uint32]
	resource   chunks[uint32]
	scope      chunks[uint32]
	prev       chunks[uint32] // row+1 of the trace's row before, 0 for its first
	names      *dict
	// Sparse columns: what most spans leave zero.
	traceState, statusMessage *column
	dropped                   [3]*column // attributes, events, links
	attrs                     attrTable
	events                    eventTable
	links                     linkTable
	resources, scopes         refTable
	traces                    traceIndex
	granules                  chunks[times] // Of all granules but the last.

	mu      sync.Mutex // serialises Append; guards what follows
	meter   meter
	arena   arena
	columns int       // attribute columns
	dirty   []*column // columns with entries to publish
	spilled bool      // an overflow list has entries to publish
	refs    [2][]uint32
}

// ids are the identifiers of a span. They are read together.
type ids struct {
	trace        spanid.TraceID
	span, parent spanid.SpanID
}

// snapshot is what has been published. It is immutable.
type snapshot struct {
	rows, traces       uint32
	events, links      uint32
	minStart, maxStart uint64
	maxEnd             uint64
	last               times // Of the last granule.
}

// times are those between which the spans of a granule start.
type times struct{ min, max uint64 }

// eventTable holds the events of all spans, in the order of their spans.
type eventTable struct {
	row     chunks[uint32] // of the span
	time    chunks[uint64]
	name    chunks[uint32]
	names   *dict
	dropped *column
	attrs   attrTable
}

// linkTable holds the links of all spans, in the order of their spans.
type linkTable struct {
	row                 chunks[uint32] // of the span
	trace               chunks[spanid.TraceID]
	span                chunks[spanid.SpanID]
	traceState          *column
	flags, droppedAttrs *column
	attrs               attrTable
}

// New returns an empty head. The id must be unique within the process; it becomes PartInfo.ID.
func New(id string, opts Options) *Head {
	if opts.MaxColumns <= 0 {
		opts.MaxColumns = DefaultMaxColumns
	}
	h := &Head{id: id, opts: opts, seed: maphash.MakeSeed()}
	m := &h.meter
	h.arena.m = m
	h.ids.init(m, 32)
	h.start.init(m, 8)
	h.end.init(m, 8)
	h.kind.init(m, 4)
	h.status.init(m, 4)
	for _, c := range []*chunks[uint32]{
		&h.flags, &h.name, &h.resource, &h.scope, &h.prev, &h.events.row, &h.events.name, &h.links.row,
	} {
		c.init(m, 4)
	}
	h.events.time.init(m, 8)
	h.links.trace.init(m, 16)
	h.links.span.init(m, 8)
	h.names, h.events.names = newRowDict(&h.arena, h.seed), newRowDict(&h.arena, h.seed)
	h.traceState, h.statusMessage = newColumn(h, store.TypeString), newColumn(h, store.TypeString)
	h.links.traceState = newColumn(h, store.TypeString)
	for _, c := range []**column{
		&h.dropped[0], &h.dropped[1], &h.dropped[2], &h.events.dropped, &h.links.flags, &h.links.droppedAttrs,
	} {
		*c = newColumn(h, store.TypeInt)
	}
	h.attrs.init(h, store.ScopeSpan)
	h.events.attrs.init(h, store.ScopeEvent)
	h.links.attrs.init(h, store.ScopeLink)
	h.resources.init(h)
	h.scopes.init(h)
	h.traces.init(m, &h.ids)
	h.granules.init(m, 16)
	h.snap.Store(&snapshot{})
	h.bytes.Store(m.bytes)
	return h
}

// Rows returns the number of published spans.
func (h *Head) Rows() int { return int(h.snap.Load().rows) }

// Bytes returns the memory that the head uses.
func (h *Head) Bytes() int64 { return h.bytes.Load() }

// Append adds the spans of the batch. They become visible together, to Parts taken afterwards. On an error, which
// wraps store.ErrInvalid or store.ErrTooLarge, nothing is added. The batch is not kept. It returns by how many bytes
// the head has grown.
func (h *Head) Append(b *store.Batch) (grown int64, err error) {
	if err := Validate(b); err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := *h.snap.Load()
	if int(s.rows)+len(b.Spans) > MaxRows {
		return 0, fmt.Errorf("append %d spans to a head of %d: %w", len(b.Spans), s.rows, store.ErrTooLarge)
	}
	if len(b.Spans) == 0 {
		return 0, nil
	}
	before := h.meter.bytes
	h.internRefs(b)
	if s.rows == 0 {
		s.minStart = b.Spans[0].StartNano
	}
	for i := range b.Spans {
		sp := &b.Spans[i]
		h.appendSpan(s.rows, sp)
		if s.rows%store.GranuleRows == 0 {
			if s.rows > 0 {
				h.granules.push(s.last)
			}
			s.last = times{sp.StartNano, sp.StartNano}
		}
		s.last = times{min(s.last.min, sp.StartNano), max(s.last.max, sp.StartNano)}
		s.rows++
		s.minStart = min(s.minStart, sp.StartNano)
		s.maxStart = max(s.maxStart, sp.StartNano)
		s.maxEnd = max(s.maxEnd, sp.EndNano)
	}
	s.traces = uint32(h.traces.first.n)
	s.events, s.links = uint32(h.events.row.n), uint32(h.links.row.n)
	h.publish(&s)
	return h.meter.bytes - before, nil
}

// publish makes everything written so far visible; see the package comment for the order.
func (h *Head) publish(s *snapshot) {
	for i, c := range h.dirty {
		c.publish()
		h.dirty[i] = nil
	}
	h.dirty = h.dirty[:0]
	if h.spilled {
		for _, t := range [...]*attrTable{&h.attrs, &h.events.attrs, &h.links.attrs} {
			t.extras.Store(uint32(t.overflow.n))
		}
		h.spilled = false
	}
	h.bytes.Store(h.meter.bytes)
	h.snap.Store(s)
}

// Validate reports whether the batch keeps to the contract. The error wraps store.ErrInvalid and names the first
// offence.
func Validate(b *store.Batch) error {
	for i := range b.Resources {
		if err := validateAttrs(b.Resources[i].Attrs); err != nil {
			return fmt.Errorf("resource %d: %w", i, err)
		}
	}
	for i := range b.Scopes {
		if err := validateAttrs(b.Scopes[i].Attrs); err != nil {
			return fmt.Errorf("scope %d: %w", i, err)
		}
	}
	for i := range b.Spans {
		if err := validateSpan(b, &b.Spans[i]); err != nil {
			return fmt.Errorf("span %d: %w", i, err)
		}
	}
	return nil
}

func validateSpan(b *store.Batch, s *store.Span) error {
	if s.Resource < 0 || int(s.Resource) >= len(b.Resources) {
		return fmt.Errorf("resource index %d of %d resources: %w", s.Resource, len(b.Resources), store.ErrInvalid)
	}
	if s.Scope < 0 || int(s.Scope) >= len(b.Scopes) {
		return fmt.Errorf("scope index %d of %d scopes: %w", s.Scope, len(b.Scopes), store.ErrInvalid)
	}
	if err := validateAttrs(s.Attrs); err != nil {
		return err
	}
	for i := range s.Events {
		if err := validateAttrs(s.Events[i].Attrs); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	for i := range s.Links {
		if err := validateAttrs(s.Links[i].Attrs); err != nil {
			return fmt.Errorf("link %d: %w", i, err)
		}
	}
	return nil
}

func validateAttrs(attrs []store.Attr) error {
	for i := range attrs {
		v := &attrs[i].Value
		if v.Type > store.TypeMap {
			return fmt.Errorf("attribute %q has the unknown %s: %w", attrs[i].Key, v.Type, store.ErrInvalid)
		}
		if v.Type == store.TypeBool && v.Num > 1 {
			return fmt.Errorf("attribute %q is a boolean of value %d: %w", attrs[i].Key, v.Num, store.ErrInvalid)
		}
	}
	return nil
}
