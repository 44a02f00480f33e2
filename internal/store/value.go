package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ValueType says which of OTLP's AnyValue cases a Value holds.
type ValueType uint8

// The cases of Value. TypeAbsent is the zero value: no such attribute. TypeEmpty is an AnyValue that is present and
// has no case set (opentelemetry.proto.common.v1: "It is valid for all values to be unspecified").
const (
	TypeAbsent ValueType = iota
	TypeEmpty
	TypeString
	TypeInt
	TypeFloat
	TypeBool
	TypeBytes
	TypeArray
	TypeMap
)

var typeNames = [...]string{"absent", "empty", "string", "int", "float", "bool", "bytes", "array", "map"}

func (t ValueType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("ValueType(%d)", uint8(t))
}

// Value is one attribute value. It is comparable with ==, two floats being the same if their bits are. Scalars live
// in Num, text and bytes in Str, arrays and maps packed in Str (see Array and Map).
type Value struct {
	Type ValueType
	Num  uint64
	Str  string
}

// String, Int, Float, Bool, Bytes and Empty make values of the scalar types.
func String(s string) Value    { return Value{Type: TypeString, Str: s} }
func Int(i int64) Value        { return Value{Type: TypeInt, Num: uint64(i)} }
func Float(f float64) Value    { return Value{Type: TypeFloat, Num: math.Float64bits(f)} }
func Bytes(b string) Value     { return Value{Type: TypeBytes, Str: b} }
func Empty() Value             { return Value{Type: TypeEmpty} }
func (v Value) Int() int64     { return int64(v.Num) }
func (v Value) Float() float64 { return math.Float64frombits(v.Num) }
func (v Value) Bool() bool     { return v.Num != 0 }

// Bool makes a boolean value.
func Bool(b bool) Value {
	if b {
		return Value{Type: TypeBool, Num: 1}
	}
	return Value{Type: TypeBool}
}

// Attr is one key and value. Keys may be empty and may occur twice in a list, as OTLP does not prevent either.
type Attr struct {
	Key   string
	Value Value
}

// MaxDepth bounds how deep arrays and maps may nest when unpacked.
const MaxDepth = 64

var errPacked = errors.New("packed value is malformed")

// Array packs values into one of TypeArray. The elements are copied.
func Array(elems ...Value) Value {
	var b []byte
	for _, e := range elems {
		b = appendPacked(b, e)
	}
	return Value{Type: TypeArray, Str: string(b)}
}

// Map packs attributes into one value of TypeMap, keeping order and duplicate keys.
func Map(attrs ...Attr) Value {
	var b []byte
	for _, a := range attrs {
		b = binary.AppendUvarint(b, uint64(len(a.Key)))
		b = append(b, a.Key...)
		b = appendPacked(b, a.Value)
	}
	return Value{Type: TypeMap, Str: string(b)}
}

// appendPacked writes a type byte and then a payload: 8 bytes little-endian for numbers, one byte for booleans,
// nothing for empty ones, and a uvarint length with that many bytes for everything else.
func appendPacked(b []byte, v Value) []byte {
	b = append(b, byte(v.Type))
	switch v.Type {
	case TypeAbsent, TypeEmpty:
	case TypeInt, TypeFloat:
		b = binary.LittleEndian.AppendUint64(b, v.Num)
	case TypeBool:
		b = append(b, byte(v.Num))
	default:
		b = binary.AppendUvarint(b, uint64(len(v.Str)))
		b = append(b, v.Str...)
	}
	return b
}

// Elems unpacks a value of TypeArray. The elements' strings share v's memory. It errors on malformed packing, which
// cannot come from Array but can come from a damaged file.
func (v Value) Elems() ([]Value, error) {
	if v.Type != TypeArray {
		return nil, fmt.Errorf("a value of type %s has no elements", v.Type)
	}
	var out []Value
	for s := v.Str; s != ""; {
		e, rest, err := cutPacked(s)
		if err != nil {
			return nil, err
		}
		out, s = append(out, e), rest
	}
	return out, nil
}

// Attrs unpacks a value of TypeMap; see Elems.
func (v Value) Attrs() ([]Attr, error) {
	if v.Type != TypeMap {
		return nil, fmt.Errorf("a value of type %s has no entries", v.Type)
	}
	var out []Attr
	for s := v.Str; s != ""; {
		key, rest, err := cutBytes(s)
		if err != nil {
			return nil, err
		}
		e, rest, err := cutPacked(rest)
		if err != nil {
			return nil, err
		}
		out, s = append(out, Attr{Key: key, Value: e}), rest
	}
	return out, nil
}

func cutPacked(s string) (v Value, rest string, err error) {
	if s == "" {
		return v, "", errPacked
	}
	v.Type, s = ValueType(s[0]), s[1:]
	switch v.Type {
	case TypeAbsent, TypeEmpty:
	case TypeInt, TypeFloat:
		if len(s) < 8 {
			return v, "", errPacked
		}
		for i := range 8 {
			v.Num |= uint64(s[i]) << (8 * i)
		}
		s = s[8:]
	case TypeBool:
		if s == "" || s[0] > 1 {
			return v, "", errPacked
		}
		v.Num, s = uint64(s[0]), s[1:]
	case TypeString, TypeBytes, TypeArray, TypeMap:
		if v.Str, s, err = cutBytes(s); err != nil {
			return v, "", err
		}
	default:
		return v, "", errPacked
	}
	return v, s, nil
}

func cutBytes(s string) (head, rest string, err error) {
	var n uint64
	for i := 0; ; i++ {
		if i >= len(s) || i > 9 {
			return "", "", errPacked
		}
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			s = s[i+1:]
			break
		}
	}
	if n > uint64(len(s)) {
		return "", "", errPacked
	}
	return s[:n], s[n:], nil
}
