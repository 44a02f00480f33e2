package testkit

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Nasty makes spans that are legal OTLP and unpleasant. It is not safe for concurrent use.
type Nasty struct {
	rng    *rand.Rand
	traces []spanid.TraceID // Traces that later batches add to.
	ids    []spanid.SpanID  // Span ids in use, for parents, links and duplicates.
	sent   []identity       // Spans so far, for duplicates.
	// MaxString bounds the huge strings that occur now and then, in bytes. Zero means none.
	MaxString int
}

// identity is what makes two spans the same one (T-08).
type identity struct {
	trace spanid.TraceID
	span  spanid.SpanID
	kind  int32
}

// NewNasty returns a generator with huge strings of 64 KiB.
func NewNasty(seed uint64) *Nasty {
	return &Nasty{rng: rand.New(rand.NewPCG(seed, 0xbad)), MaxString: 64 << 10} //nolint:gosec // Not for secrets.
}

// NastyKeys are the attribute keys that Nasty uses, in every scope: some are the names of intrinsics, some look like
// the names of columns in files, one is empty.
var NastyKeys = []string{
	"a", "b", "c", "http.status_code", "service.name", "name", "duration", "kind", "trace:id", "span.a", "a@int", "resource_id",
	"", "ключ", `quo"te/sl\ash`, "with space", "A",
}

var nastyStrings = []string{
	"", "a", "b", "ab", "A", "500", "true", "1.5", "null", "GET", "GET /", "line\nbreak", "nul\x00byte", "ünïcødé", "日本語", "🦔🌳",
	"\u202eright to left", "e\u0301", strings.Repeat("x", 300), "frontend", "checkout",
}

var nastyInts = []int64{0, 1, -1, 2, 200, 404, 500, 1<<53 + 1, math.MaxInt64, math.MinInt64, 1_700_000_000_000_000_000}

var nastyFloats = []float64{
	0, math.Copysign(0, -1), 1, 1.5, -1, 2, 200, 500, 1 << 53, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1),
	math.NaN(), 9.3e18,
}

var nastyTimes = []uint64{0, 1, 1_767_323_045_000_000_000, 1_767_323_046_500_000_000, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64}

func of[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

// chance is true once in n times.
func (g *Nasty) chance(n int) bool { return g.rng.IntN(n) == 0 }

// Batch returns n spans. Some belong to traces of earlier batches, some repeat earlier spans.
func (g *Nasty) Batch(n int) *store.Batch {
	b := &store.Batch{}
	for range 1 + g.rng.IntN(6) {
		b.Resources = append(b.Resources, g.resource())
	}
	if g.chance(2) { // An equal resource under another index.
		b.Resources = append(b.Resources, b.Resources[0])
	}
	for range 1 + g.rng.IntN(4) {
		b.Scopes = append(b.Scopes, store.Scope{
			Name: of(g.rng, nastyStrings), Version: of(g.rng, nastyStrings), Attrs: g.attrs(2), DroppedAttrs: g.count(), SchemaURL: g.url(),
		})
	}
	for range n {
		b.Spans = append(b.Spans, g.span(b))
	}
	return b
}

func (g *Nasty) resource() store.Resource {
	r := store.Resource{Attrs: g.attrs(4), DroppedAttrs: g.count(), SchemaURL: g.url()}
	if g.chance(4) {
		r.Attrs = append(r.Attrs, str("service.name", of(g.rng, nastyStrings)))
	}
	if g.chance(4) { // entity_refs { type: "host" id_keys: "id" }, twice.
		r.EntityRefs = strings.Repeat("\x1a\x0a\x12\x04host\x1a\x02id", 1+g.rng.IntN(2))
	}
	return r
}

func (g *Nasty) url() string {
	if g.chance(2) {
		return ""
	}
	return of(g.rng, []string{"https://example.com/1", "https://example.com/2"})
}

func (g *Nasty) count() uint32 {
	if !g.chance(5) {
		return 0
	}
	return of(g.rng, []uint32{1, 7, math.MaxUint32})
}

func (g *Nasty) traceID() spanid.TraceID {
	if len(g.traces) > 0 && !g.chance(6) {
		return of(g.rng, g.traces)
	}
	var id spanid.TraceID
	switch g.rng.IntN(12) {
	case 0: // The invalid id.
	case 1, 2: // A 64-bit id of an older client.
		for i := 8; i < 16; i++ {
			id[i] = byte(g.rng.Uint32())
		}
	case 3:
		id[15] = byte(g.rng.Uint32())
	default:
		for i := range id {
			id[i] = byte(g.rng.Uint32())
		}
	}
	g.traces = append(g.traces, id)
	return id
}

func (g *Nasty) spanID() spanid.SpanID {
	if len(g.ids) > 0 && g.chance(25) { // In another trace, or in the same with another kind.
		return of(g.rng, g.ids)
	}
	var id spanid.SpanID
	if g.chance(200) {
		return id
	}
	for i := range id {
		id[i] = byte(g.rng.Uint32())
	}
	g.ids = append(g.ids, id)
	return id
}

func (g *Nasty) parentID(own spanid.SpanID) (id spanid.SpanID) {
	switch dice := g.rng.IntN(20); {
	case dice < 4:
		return id
	case dice == 4:
		return own // A cycle of one.
	case dice == 5: // An orphan.
		id[0] = 0xff
		return id
	}
	if len(g.ids) == 0 {
		return id
	}
	return of(g.rng, g.ids) // Cycles happen.
}

// near returns a time within a few seconds of the base, or an odd one.
func (g *Nasty) near() uint64 {
	if g.chance(12) {
		return of(g.rng, nastyTimes)
	}
	return 1_767_323_045_000_000_000 + g.rng.Uint64N(5_000_000_000)
}

func (g *Nasty) span(b *store.Batch) store.Span {
	id := g.spanID()
	s := store.Span{
		TraceID: g.traceID(), SpanID: id, ParentID: g.parentID(id),
		Resource: int32(g.rng.IntN(len(b.Resources))), Scope: int32(g.rng.IntN(len(b.Scopes))), //nolint:gosec // Small.
		Name: of(g.rng, nastyStrings), Kind: of(g.rng, []int32{0, 1, 2, 2, 3, 3, 4, 5, 6, -1, math.MaxInt32}),
		StatusCode: of(g.rng, []int32{0, 0, 1, 2, 2, 3, -7}), Attrs: g.attrs(6),
		DroppedAttrs: g.count(), DroppedEvents: g.count(), DroppedLinks: g.count(),
	}
	if len(g.sent) > 0 && g.chance(30) { // A duplicate, with other contents.
		dup := of(g.rng, g.sent)
		s.TraceID, s.SpanID, s.Kind = dup.trace, dup.span, dup.kind
	}
	g.sent = append(g.sent, identity{s.TraceID, s.SpanID, s.Kind})
	s.StartNano = g.near()
	s.EndNano = s.StartNano + g.rng.Uint64N(2_000_000_000)
	if g.chance(8) {
		s.EndNano = g.near()
	}
	if g.chance(3) {
		s.TraceState, s.StatusMessage = of(g.rng, nastyStrings), of(g.rng, nastyStrings)
	}
	if g.chance(3) {
		s.Flags = of(g.rng, []uint32{1, 0x101, 0x300, math.MaxUint32})
	}
	for g.chance(3) {
		s.Events = append(s.Events, store.Event{TimeNano: g.near(), Name: of(g.rng, nastyStrings), Attrs: g.attrs(3), DroppedAttrs: g.count()})
	}
	for g.chance(4) {
		l := store.Link{TraceState: of(g.rng, nastyStrings), Attrs: g.attrs(2), DroppedAttrs: g.count()}
		if !g.chance(8) {
			l.TraceID, l.SpanID = of(g.rng, g.traces), of(g.rng, g.ids)
			l.Flags = of(g.rng, []uint32{0, 1, 0x300})
		}
		s.Links = append(s.Links, l)
	}
	return s
}

func (g *Nasty) attrs(most int) []store.Attr {
	var out []store.Attr
	for range g.rng.IntN(most + 1) {
		key := of(g.rng, NastyKeys)
		if g.chance(3) {
			key = "a" // Often, so that it has all types and occurs twice.
		}
		out = append(out, store.Attr{Key: key, Value: g.Value(0)})
	}
	return out
}

// Value returns a value of any type but absent, inside depth arrays and maps.
func (g *Nasty) Value(depth int) store.Value {
	kinds := 24
	if depth > 2 && !g.chance(3) {
		kinds = 20
	}
	switch dice := g.rng.IntN(kinds); {
	case dice < 8:
		if g.MaxString > 0 && g.chance(1000) {
			return store.String(strings.Repeat("huge ", g.MaxString/5))
		}
		return store.String(of(g.rng, nastyStrings))
	case dice < 13:
		return store.Int(of(g.rng, nastyInts))
	case dice < 16:
		return store.Float(of(g.rng, nastyFloats))
	case dice < 18:
		return store.Bool(g.chance(2))
	case dice < 19:
		return store.Bytes(of(g.rng, []string{"", "a", "\xff\xfe\x00", "bytes"}))
	case dice < 20:
		return store.Empty()
	case dice < 23:
		return g.array(depth + 1)
	}
	var attrs []store.Attr
	for range g.rng.IntN(4) {
		attrs = append(attrs, store.Attr{Key: of(g.rng, NastyKeys), Value: g.Value(depth + 1)})
	}
	return store.Map(attrs...)
}

// array returns an array that is empty, of one type (which can be queried, E-06) or mixed.
func (g *Nasty) array(depth int) store.Value {
	var elems []store.Value
	kind := g.rng.IntN(5)
	for range g.rng.IntN(4) {
		switch kind {
		case 0, 1:
			elems = append(elems, store.String(of(g.rng, nastyStrings)))
		case 2:
			elems = append(elems, store.Int(of(g.rng, nastyInts)))
		case 3:
			elems = append(elems, store.Float(of(g.rng, nastyFloats)))
		default:
			elems = append(elems, g.Value(depth))
		}
	}
	return store.Array(elems...)
}
