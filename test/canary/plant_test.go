package canary

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/diskscan"
)

// planter plants secrets and remembers them. It is not safe for concurrent use.
type planter struct {
	rng     *rand.Rand
	needles diskscan.Needles
	planted []planted
}

type planted struct{ kind, place, text string }

func newPlanter(seed uint64) *planter {
	return &planter{rng: rand.New(rand.NewPCG(seed, 0xca9a7))} //nolint:gosec // Reproducible, not secret.
}

// next returns the text of a new secret of the kind for the place.
func (p *planter) next(kind int, place string) string {
	s := kinds[kind].make(p.rng)
	return p.note(s, kinds[kind].name, place)
}

func (p *planter) note(s secret, kind, place string) string {
	id := len(p.planted)
	p.planted = append(p.planted, planted{kind, place, s.text})
	for _, part := range s.parts {
		p.needles.Add(id, part)
	}
	return s.text
}

// bare is a secret that is one by its key only.
func (p *planter) bare(kind, place string) string {
	return p.note(around("", random(p.rng, alnum, 20), ""), kind, place)
}

func str(v string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}
}

func raw(v string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte(v)}}
}

func list(v ...*commonpb.AnyValue) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: v}}}
}

func dict(v ...*commonpb.KeyValue) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: v}}}
}

func kv(key string, v *commonpb.AnyValue) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: v}
}

// attributes plants secrets of a kind in every form that attributes of one owner have.
func (p *planter) attributes(kind int, place string) []*commonpb.KeyValue {
	n := func(form string) string { return p.next(kind, place+", "+form) }
	deep := str(n("deep in maps"))
	for i := range 20 {
		deep = dict(kv("level", deep), kv(strconv.Itoa(i), list(dict(kv("x", str("y"))))))
	}
	statement := statements[kind%len(statements)]
	key := sensitive[kind%len(sensitive)]
	attrs := []*commonpb.KeyValue{
		kv("canary.text", str(n("text"))),
		kv("canary."+n("key"), str("v")),
		kv(n("whole key"), dict()),
		kv("canary.bytes", raw(n("bytes"))),
		kv("canary.binary", raw("\xff\xfe\x00 "+n("bytes that are not text"))),
		kv("canary.list", list(str("a"), str(n("array")), list(str(n("array in array"))), dict(kv("k", str(n("map in array")))))),
		kv("canary.map", dict(kv("k", str(n("map"))), kv(n("key in map"), str("v")), kv("m", dict(kv("l", list(raw(n("bytes, deeper")))))))),
		kv("canary.deep", deep),
		kv("canary.long", str(longText(p.rng)+" "+n("long text")+" "+longText(p.rng))),
		kv("exception.stacktrace", str("java.lang.Exception: "+n("stack trace")+"\n\tat a.b.C(C.java:12)\n\tat d.E(E.java:3)")),
		kv(key, str(p.bare("sensitive key", place+", text"))),
		kv("canary.headers", dict(kv(key, list(str(p.bare("sensitive key", place+", array in map")))), kv("accept", str("text/html")))),
		kv("db.system.name", str(statement.system)),
		kv(statement.key, str(statement.before+p.bare(statement.system+" statement", place)+statement.after)),
	}
	if kinds[kind].name == "card" {
		attrs = append(attrs, p.number("canary.int", place, false), p.number("canary.double", place, true))
	}
	return attrs
}

// number plants a card as a number.
func (p *planter) number(key, place string, double bool) *commonpb.KeyValue {
	digits := card(p.rng)
	v, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		panic(err) // Sixteen digits.
	}
	id := len(p.planted)
	p.planted = append(p.planted, planted{"card", place + ", " + key, digits})
	if double {
		// Sixteen digits are exact in a double below 2^53; the last one may not be, so the search is for its bytes.
		bits := &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: float64(v)}}
		p.needles.AddDouble(id, float64(v))
		return kv(key, bits)
	}
	p.needles.AddNumber(id, v)
	return kv(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(v)}}) //nolint:gosec // Sixteen digits.
}

// longText is innocent and some kilobytes long.
func longText(r *rand.Rand) string {
	words := []string{"the", "order", "was", "sent", "to", "a", "warehouse", "in", "time", "and", "nobody", "noticed", "4 of 7", "v1.2.3", "ok."}
	var b []byte
	for len(b) < 2000 {
		b = append(b, words[r.IntN(len(words))]...)
		b = append(b, ' ')
	}
	return string(b)
}

// request plants secrets of a kind in every place of a trace. It returns the trace's id, too.
func (p *planter) request(kind int, encoding string) ([]byte, *coltracepb.ExportTraceServiceRequest) {
	place := func(s string) string { return encoding + ": " + s }
	n := func(s string) string { return p.next(kind, place(s)) }
	id := func(size int) []byte {
		b := make([]byte, 0, 16)
		for len(b) < size {
			b = binary.BigEndian.AppendUint64(b, p.rng.Uint64()|1)
		}
		return b
	}
	traceID := id(16)
	now := uint64(time.Now().UnixNano()) //nolint:gosec // After 1970.
	span := &tracepb.Span{
		TraceId: traceID, SpanId: id(8), Name: "GET " + n("span name"), Kind: tracepb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: now - 1e6, EndTimeUnixNano: now, TraceState: "vendor=" + inTraceState(n("tracestate")) + ",ot=th:c,x=1",
		Attributes: p.attributes(kind, place("span")),
		Status:     &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "failed: " + n("status message")},
		Events: []*tracepb.Span_Event{
			{TimeUnixNano: now, Name: "event " + n("event name"), Attributes: p.attributes(kind, place("event"))},
		},
		Links: []*tracepb.Span_Link{
			{TraceId: id(16), SpanId: id(8), TraceState: "vendor=" + inTraceState(n("tracestate of a link")), Attributes: p.attributes(kind, place("link"))},
		},
	}
	return traceID, &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{
			Attributes: append([]*commonpb.KeyValue{kv("service.name", str("canary"))}, p.attributes(kind, place("resource"))...),
			EntityRefs: []*commonpb.EntityRef{{
				SchemaUrl: "https://example.com/" + n("schema of an entity"), Type: n("entity type"), IdKeys: []string{"service.name", n("entity key")},
				DescriptionKeys: []string{n("description key of an entity")},
			}},
		},
		SchemaUrl: "https://example.com/" + n("schema of a resource"),
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope: &commonpb.InstrumentationScope{
				Name: "lib " + n("scope name"), Version: "1 " + n("scope version"), Attributes: p.attributes(kind, place("scope")),
			},
			SchemaUrl: "https://example.com/" + n("schema of a scope"),
			Spans:     []*tracepb.Span{span},
		}},
	}}}
}
