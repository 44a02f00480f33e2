package tempoapi

import (
	"strings"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/bramble-tracing/bramble/internal/store"
)

// valid makes text fit for protobuf and JSON, whose readers refuse the whole message otherwise.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// keyValue makes an OTLP attribute.
func keyValue(key string, v store.Value) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: valid(key), Value: anyValue(v, 0)}
}

// anyValue converts a value; what is damaged or nested too deep becomes an empty one.
func anyValue(v store.Value, depth int) *commonv1.AnyValue {
	switch v.Type {
	case store.TypeString:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: valid(v.Str)}}
	case store.TypeInt:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: v.Int()}}
	case store.TypeFloat:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: v.Float()}}
	case store.TypeBool:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{BoolValue: v.Bool()}}
	case store.TypeBytes:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_BytesValue{BytesValue: []byte(v.Str)}}
	case store.TypeArray:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{ArrayValue: arrayValue(v, depth)}}
	case store.TypeMap:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_KvlistValue{KvlistValue: mapValue(v, depth)}}
	case store.TypeAbsent, store.TypeEmpty:
	}
	return &commonv1.AnyValue{}
}

func arrayValue(v store.Value, depth int) *commonv1.ArrayValue {
	elems, err := v.Elems()
	if err != nil || depth >= store.MaxDepth {
		return &commonv1.ArrayValue{}
	}
	out := &commonv1.ArrayValue{Values: make([]*commonv1.AnyValue, len(elems))}
	for i, e := range elems {
		out.Values[i] = anyValue(e, depth+1)
	}
	return out
}

func mapValue(v store.Value, depth int) *commonv1.KeyValueList {
	attrs, err := v.Attrs()
	if err != nil || depth >= store.MaxDepth {
		return &commonv1.KeyValueList{}
	}
	out := &commonv1.KeyValueList{Values: make([]*commonv1.KeyValue, len(attrs))}
	for i, a := range attrs {
		out.Values[i] = &commonv1.KeyValue{Key: valid(a.Key), Value: anyValue(a.Value, depth+1)}
	}
	return out
}
