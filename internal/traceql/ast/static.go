package ast

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Type is the static type of an expression or the type of a value.
type Type uint8

// The types of TraceQL. TypeAttribute is that of an attribute whose type is known only when a span is looked at.
const (
	TypeNil Type = iota
	TypeAttribute
	TypeInt
	TypeFloat
	TypeString
	TypeBool
	TypeDuration
	TypeStatus
	TypeKind
	TypeArray
)

var typeNames = [...]string{
	"nil", "attribute", "int", "float", "string", "bool", "duration", "status", "kind", "array",
}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Numeric reports whether values of the type can be computed with and compared with each other (L-40).
func (t Type) Numeric() bool { return t == TypeInt || t == TypeFloat || t == TypeDuration }

// Static is a constant of a query or a value of a span. N holds ints, durations in nanoseconds, booleans as 0 and 1,
// and the OTLP numbers of status and kind. Arrays occur only as values of spans.
type Static struct {
	Type  Type
	N     int64
	F     float64
	S     string
	Elems []Static
}

// Constructors of Static, one per type. The zero Static is nil.

// Int returns an integer.
func Int(n int64) Static { return Static{Type: TypeInt, N: n} }

// Float returns a floating-point number.
func Float(f float64) Static { return Static{Type: TypeFloat, F: f} }

// String returns a string.
func String(s string) Static { return Static{Type: TypeString, S: s} }

// Bool returns a boolean.
func Bool(b bool) Static {
	if b {
		return Static{Type: TypeBool, N: 1}
	}
	return Static{Type: TypeBool}
}

// Duration returns a duration of n nanoseconds.
func Duration(n int64) Static { return Static{Type: TypeDuration, N: n} }

// Status returns a status code, OTLP's number.
func Status(code int64) Static { return Static{Type: TypeStatus, N: code} }

// Kind returns a span kind, OTLP's number.
func Kind(kind int64) Static { return Static{Type: TypeKind, N: kind} }

// Array returns an array of the values.
func Array(elems ...Static) Static { return Static{Type: TypeArray, Elems: elems} }

// IsNil reports whether there is no value.
func (s Static) IsNil() bool { return s.Type == TypeNil }

// True reports whether the value is the boolean true.
func (s Static) True() bool { return s.Type == TypeBool && s.N != 0 }

// Number returns a numeric value as a float; durations are in nanoseconds.
func (s Static) Number() (f float64, ok bool) {
	switch s.Type {
	case TypeInt, TypeDuration:
		return float64(s.N), true
	case TypeFloat:
		return s.F, true
	}
	return 0, false
}

// statusNames and kindNames are indexed by OTLP's numbers.
var (
	statusNames = [...]string{"unset", "ok", "error"}
	kindNames   = [...]string{"unspecified", "internal", "server", "client", "producer", "consumer"}
)

func name(names []string, n int64) string {
	if n >= 0 && n < int64(len(names)) {
		return names[n]
	}
	return strconv.FormatInt(n, 10)
}

// Keyword returns the value that a keyword stands for (L-05), minInt and maxInt included.
func Keyword(word string) (Static, bool) {
	switch word {
	case "true", "false":
		return Bool(word == "true"), true
	case "nil":
		return Static{}, true
	case "minInt":
		return Int(math.MinInt64), true
	case "maxInt":
		return Int(math.MaxInt64), true
	}
	for i, n := range statusNames {
		if n == word {
			return Status(int64(i)), true
		}
	}
	for i, n := range kindNames {
		if n == word {
			return Kind(int64(i)), true
		}
	}
	return Static{}, false
}

// Text returns the value as it is shown to users: strings without quotes, durations, status and kind as words (S-26).
func (s Static) Text() string {
	if s.Type == TypeString {
		return s.S
	}
	return s.String()
}

// String returns the value as it is written in a query.
func (s Static) String() string {
	switch s.Type {
	case TypeNil:
		return "nil"
	case TypeInt:
		switch s.N {
		case math.MinInt64:
			return "minInt"
		case math.MaxInt64:
			return "maxInt"
		}
		return strconv.FormatInt(s.N, 10)
	case TypeFloat:
		return formatFloat(s.F)
	case TypeString:
		return quote(s.S)
	case TypeBool:
		return strconv.FormatBool(s.N != 0)
	case TypeDuration:
		return time.Duration(s.N).String()
	case TypeStatus:
		return name(statusNames[:], s.N)
	case TypeKind:
		return name(kindNames[:], s.N)
	case TypeArray:
		var b strings.Builder
		b.WriteByte('[')
		for i, e := range s.Elems {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(e.String())
		}
		b.WriteByte(']')
		return b.String()
	}
	return s.Type.String()
}

// formatFloat prints a float so that it is read back as a float: with a point or an exponent.
func formatFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if strings.ContainsAny(s, ".eIN") {
		return s
	}
	return s + ".0"
}

// quote prints a string literal. Bytes that are not UTF-8 are escaped, so that any string survives (L-02).
func quote(s string) string { return strconv.Quote(s) }
