package otlpspan_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
)

// lost lists the OTLP fields that we knowingly do not keep. Both are defined for profiles only.
var lost = map[protoreflect.FullName]bool{
	"opentelemetry.proto.common.v1.AnyValue.string_value_strindex": true,
	"opentelemetry.proto.common.v1.KeyValue.key_strindex":          true,
}

// filler sets every field of a message to a value that occurs nowhere else.
type filler struct {
	n    uint64
	seen map[protoreflect.FullName]bool
}

const fillDepth = 9 // An array or map in an array or map of a span event.

func (fl *filler) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if lost[fd.FullName()] || fd.ContainingOneof() != nil {
			continue
		}
		fl.set(m, fd, depth)
	}
}

func (fl *filler) set(m protoreflect.Message, fd protoreflect.FieldDescriptor, depth int) {
	fl.seen[fd.FullName()] = true
	switch {
	case fd.IsList():
		list := m.Mutable(fd).List()
		if fd.Message() == nil {
			list.Append(fl.scalar(fd))
			list.Append(fl.scalar(fd))
			return
		}
		fl.fillList(list, fd.Message(), depth)
	case fd.Message() != nil:
		fl.fill(m.Mutable(fd).Message(), depth+1)
	default:
		m.Set(fd, fl.scalar(fd))
	}
}

// fillList appends two messages, or, if they are or hold a choice, one for each case of it.
func (fl *filler) fillList(list protoreflect.List, md protoreflect.MessageDescriptor, depth int) {
	var cases protoreflect.FieldDescriptors
	switch md.FullName() {
	case "opentelemetry.proto.common.v1.KeyValue":
		cases = md.Fields().ByName("value").Message().Oneofs().ByName("value").Fields()
	case "opentelemetry.proto.common.v1.AnyValue":
		cases = md.Oneofs().ByName("value").Fields()
	default:
		for range 2 {
			fl.fill(list.AppendMutable().Message(), depth+1)
		}
		return
	}
	for i := range cases.Len() {
		fd := cases.Get(i)
		if lost[fd.FullName()] || fd.Message() != nil && depth > fillDepth {
			continue
		}
		el := list.AppendMutable().Message()
		fl.fill(el, depth+1)
		if v := md.Fields().ByName("value"); v != nil {
			el = el.Mutable(v).Message()
		}
		fl.set(el, fd, depth+1)
	}
}

func (fl *filler) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	fl.n++
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("s%d", fl.n))
	case protoreflect.BytesKind:
		b := fmt.Appendf(nil, "%016d", fl.n)
		if fd.Name() == "span_id" || fd.Name() == "parent_span_id" {
			b = b[8:]
		}
		return protoreflect.ValueOfBytes(b)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(fl.n) + 0.5)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(fl.n)) // Mostly values without a name.
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(fl.n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(fl.n)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(-int64(fl.n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(fl.n))
	}
	panic(fmt.Sprintf("OTLP got a field %s of kind %s: teach this test to fill it", fd.FullName(), fd.Kind()))
}

// TestEveryFieldSurvives fills every field that the generated OTLP code knows and sends it along all four conversions.
// It fails when OTLP gains a trace field that we (or pdata) lose; T-09 asks for all of them.
func TestEveryFieldSurvives(t *testing.T) {
	fl := &filler{seen: map[protoreflect.FullName]bool{}}
	want := &tracepb.TracesData{}
	fl.fill(want.ProtoReflect(), 0)
	for _, name := range []protoreflect.FullName{ // The walk reached the ends of the tree.
		"opentelemetry.proto.common.v1.EntityRef.description_keys",
		"opentelemetry.proto.trace.v1.Span.Link.flags",
		"opentelemetry.proto.common.v1.InstrumentationScope.dropped_attributes_count",
		"opentelemetry.proto.common.v1.AnyValue.kvlist_value",
		"opentelemetry.proto.trace.v1.Status.code",
	} {
		require.True(t, fl.seen[name], name)
	}
	wire, err := proto.Marshal(want)
	require.NoError(t, err)

	td, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(wire)
	require.NoError(t, err)
	var rows store.Batch
	require.NoError(t, otlpspan.Flatten(td, &rows))
	enc, err := otlpspan.AppendProto(nil, &rows)
	require.NoError(t, err)
	requireSameProto(t, want, enc, "Flatten, AppendProto")

	var again store.Batch
	require.NoError(t, otlpspan.ReadProto(enc, &again))
	require.Equal(t, rows, again)
	back, err := otlpspan.Build(&again)
	require.NoError(t, err)
	enc, err = new(ptrace.ProtoMarshaler).MarshalTraces(back)
	require.NoError(t, err)
	requireSameProto(t, want, enc, "ReadProto, Build, pdata")
}

func requireSameProto(t *testing.T, want *tracepb.TracesData, enc []byte, how string) {
	t.Helper()
	got := &tracepb.TracesData{}
	require.NoError(t, proto.Unmarshal(enc, got), how)
	if !proto.Equal(want, got) {
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), "%s: a field is lost or changed", how)
		t.Fatalf("%s: a field is lost or changed", how)
	}
}
