package e2e

import (
	"math"
	"math/rand/v2"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// filler fills messages at random, guided by nothing but their descriptors: fields that OTLP gets in future versions
// are filled too.
type filler struct{ rng *rand.Rand }

var (
	fillStrings = []string{"", "a", "service.name", "GET /", "ünïcødé", "nul\x00", "🌳", "duration"}
	fillInts    = []uint64{0, 1, 2, 3, 200, 1 << 31, 1<<53 + 1, math.MaxInt64, math.MaxUint64}
	fillFloats  = []float64{0, math.Copysign(0, -1), 1, -1.5, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64}
)

// trace returns one trace of a few spans with valid ids.
func (f *filler) trace(t *testing.T) *tracepb.TracesData {
	t.Helper()
	td, traceID := &tracepb.TracesData{}, unhex(t, randomHex(t, 16))
	for range 1 + f.rng.IntN(2) {
		rs := &tracepb.ResourceSpans{}
		f.fill(rs.ProtoReflect(), 0)
		rs.ScopeSpans = nil
		for range 1 + f.rng.IntN(2) {
			ss := &tracepb.ScopeSpans{}
			f.fill(ss.ProtoReflect(), 0)
			ss.Spans = nil
			for range 1 + f.rng.IntN(3) {
				s := &tracepb.Span{}
				f.fill(s.ProtoReflect(), 0)
				s.TraceId, s.SpanId, s.ParentSpanId = traceID, unhex(t, randomHex(t, 8)), nil
				if f.rng.IntN(3) > 0 {
					s.ParentSpanId = unhex(t, randomHex(t, 8))
				}
				for _, l := range s.GetLinks() {
					l.TraceId, l.SpanId = unhex(t, randomHex(t, 16)), unhex(t, randomHex(t, 8))
				}
				ss.Spans = append(ss.Spans, s)
			}
			rs.ScopeSpans = append(rs.ScopeSpans, ss)
		}
		td.ResourceSpans = append(td.ResourceSpans, rs)
	}
	return td
}

// deepest is how far messages nest at most.
const deepest = 6

func (f *filler) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if profileOnly[field.FullName()] || f.rng.IntN(4) == 0 || depth >= deepest && field.Message() != nil {
			continue
		}
		// Of a oneof the last one that is set counts: take each with a like chance.
		if one := field.ContainingOneof(); one != nil && f.rng.IntN(one.Fields().Len()) > 0 {
			continue
		}
		if !field.IsList() {
			f.set(field, depth, func(v protoreflect.Value) { m.Set(field, v) }, func() protoreflect.Message { return m.Mutable(field).Message() })
			continue
		}
		list := m.Mutable(field).List()
		for range f.rng.IntN(4) {
			f.set(field, depth, list.Append, func() protoreflect.Message { return list.AppendMutable().Message() })
		}
	}
}

func (f *filler) set(field protoreflect.FieldDescriptor, depth int, put func(protoreflect.Value), message func() protoreflect.Message) {
	n := fillInts[f.rng.IntN(len(fillInts))]
	switch field.Kind() {
	case protoreflect.MessageKind:
		f.fill(message(), depth+1)
	case protoreflect.StringKind:
		put(protoreflect.ValueOfString(fillStrings[f.rng.IntN(len(fillStrings))]))
	case protoreflect.BytesKind:
		put(protoreflect.ValueOfBytes([]byte(fillStrings[f.rng.IntN(len(fillStrings))])))
	case protoreflect.BoolKind:
		put(protoreflect.ValueOfBool(f.rng.IntN(2) == 0))
	case protoreflect.DoubleKind:
		put(protoreflect.ValueOfFloat64(fillFloats[f.rng.IntN(len(fillFloats))]))
	case protoreflect.Int64Kind:
		put(protoreflect.ValueOfInt64(int64(n)))
	case protoreflect.Fixed64Kind:
		put(protoreflect.ValueOfUint64(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		put(protoreflect.ValueOfUint32(uint32(n)))
	case protoreflect.EnumKind:
		put(protoreflect.ValueOfEnum(protoreflect.EnumNumber(f.rng.IntN(8))))
	default:
		panic("OTLP has a field of a kind that this test does not know: " + field.FullName())
	}
}
