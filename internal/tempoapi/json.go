package tempoapi

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// jsonWriter appends JSON in the dialect of C-05. Field methods leave defaults out. Commas come by themselves: one is
// due unless the last byte opened something or was a colon.
type jsonWriter struct{ b []byte }

func (w *jsonWriter) comma() {
	if n := len(w.b); n > 0 {
		switch w.b[n-1] {
		case '{', '[', ':':
		default:
			w.b = append(w.b, ',')
		}
	}
}

// object starts an object that is an element of a list or the whole text.
func (w *jsonWriter) object() {
	w.comma()
	w.b = append(w.b, '{')
}

func (w *jsonWriter) close(c byte) { w.b = append(w.b, c) }

// key starts a field; a value must follow.
func (w *jsonWriter) key(k string) {
	w.comma()
	w.b = append(w.b, '"')
	w.b = append(w.b, k...)
	w.b = append(w.b, '"', ':')
}

func (w *jsonWriter) openField(k string, c byte) {
	w.key(k)
	w.b = append(w.b, c)
}

// text is a string value.
func (w *jsonWriter) text(s string) {
	w.comma()
	w.b = appendJSONString(w.b, s)
}

func (w *jsonWriter) stringField(k, s string) {
	if s != "" {
		w.key(k)
		w.b = appendJSONString(w.b, s)
	}
}

// uint64Field is a 64-bit number, which is a string in proto3 JSON.
func (w *jsonWriter) uint64Field(k string, n uint64) {
	if n != 0 {
		w.key(k)
		w.b = append(w.b, '"')
		w.b = strconv.AppendUint(w.b, n, 10)
		w.b = append(w.b, '"')
	}
}

func (w *jsonWriter) int64Value(n int64) {
	w.comma()
	w.b = append(w.b, '"')
	w.b = strconv.AppendInt(w.b, n, 10)
	w.b = append(w.b, '"')
}

func (w *jsonWriter) uint32Field(k string, n uint32) {
	if n != 0 {
		w.key(k)
		w.b = strconv.AppendUint(w.b, uint64(n), 10)
	}
}

// double is a number, or a string for what JSON cannot say as a number. It does not write a comma.
func (w *jsonWriter) double(f float64) {
	switch {
	case math.IsNaN(f):
		w.b = append(w.b, `"NaN"`...)
	case math.IsInf(f, 1):
		w.b = append(w.b, `"Infinity"`...)
	case math.IsInf(f, -1):
		w.b = append(w.b, `"-Infinity"`...)
	default:
		w.b = appendJSONFloat(w.b, f)
	}
}

func (w *jsonWriter) boolean(v bool) { w.b = strconv.AppendBool(w.b, v) }

func (w *jsonWriter) bytesField(k string, p []byte) {
	if len(p) > 0 {
		w.key(k)
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, p)
		w.b = append(w.b, '"')
	}
}

// enumField writes the name of n, or the number where it has none.
func (w *jsonWriter) enumField(k string, n int32, names []string) {
	if n == 0 {
		return
	}
	w.key(k)
	if n > 0 && int(n) < len(names) {
		w.b = append(w.b, '"')
		w.b = append(w.b, names[n]...)
		w.b = append(w.b, '"')
		return
	}
	w.b = strconv.AppendInt(w.b, int64(n), 10)
}

// appendJSONFloat writes a finite number as encoding/json does, which is as short as can be.
func appendJSONFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendJSONString quotes s. Bytes that are not UTF-8 become U+FFFD each; <, > and & are escaped so that the text is
// harmless in a page, and U+2028 and U+2029 so that it is valid JavaScript.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscaped(b, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendBase64 is the standard encoding of the bytes in s.
func appendBase64(b []byte, s string) []byte { return base64.StdEncoding.AppendEncode(b, []byte(s)) }
