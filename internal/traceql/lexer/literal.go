package lexer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// str reads a string in double or back quotes (L-02).
func (l *Lexer) str(start Pos, quote byte) Token {
	rest := l.rest()
	n := 1
	for {
		if n >= len(rest) || rest[n] == '\n' && quote == '"' {
			l.advance(min(n, len(rest)))
			return l.invalid(start, "the string has no end: the closing quote is missing")
		}
		if rest[n] == quote {
			break
		}
		if rest[n] == '\\' && quote == '"' && n+1 < len(rest) && rest[n+1] != '\n' {
			n++
		}
		n++
	}
	l.advance(n + 1)
	t := l.token(start, Value)
	if quote == '`' {
		t.Value = ast.String(t.Text[1:n])
		return t
	}
	s, err := strconv.Unquote(t.Text)
	if err != nil {
		t.Kind, t.Err = Invalid, badEscape(t.Text)
		return t
	}
	t.Value = ast.String(s)
	return t
}

// badEscape finds the escape sequence that Go does not have.
func badEscape(quoted string) string {
	for s := quoted[1 : len(quoted)-1]; s != ""; {
		_, _, tail, err := strconv.UnquoteChar(s, '"')
		if err != nil {
			return fmt.Sprintf(`the string has an unknown escape at %s; write \\ for a backslash, or the whole string in back quotes`,
				shorten(s))
		}
		s = tail
	}
	return "the string is malformed"
}

// number reads an int, float or duration (L-03, L-04): everything that a number could be made of, which is then
// looked at as a whole, so that the error can show it.
func (l *Lexer) number(start Pos) Token {
	rest := l.rest()
	n := 0
	for n < len(rest) {
		c := rest[n]
		exponent := n > 0 && (c == '+' || c == '-') && (rest[n-1] == 'e' || rest[n-1] == 'E') &&
			n+1 < len(rest) && rest[n+1] >= '0' && rest[n+1] <= '9' && isFloatHead(rest[:n-1])
		if !exponent && !isNumberByte(c) && !isMu(rest[n:]) {
			break
		}
		if isMu(rest[n:]) {
			n++ // Two bytes long.
		}
		n++
	}
	l.advance(n)
	t := l.token(start, Value)
	v, err := parseNumber(t.Text)
	switch {
	case err != nil && rest[0] == '.': // Not .5 but the attribute .5th.
		l.pos = start
		l.advance(1)
		return l.attribute(start, ast.Attr{})
	case err != nil:
		t.Kind, t.Err = Invalid, err.Error()
		return t
	}
	t.Value = v
	return t
}

func isNumberByte(c byte) bool {
	return c == '.' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isMu accepts the micro sign and the Greek letter, which formatters use alike (contract 11, D-12).
func isMu(s string) bool { return strings.HasPrefix(s, "µ") || strings.HasPrefix(s, "μ") }

func isFloatHead(s string) bool {
	return strings.Trim(s, "0123456789.") == "" && strings.Count(s, ".") < 2
}

func parseNumber(s string) (ast.Static, error) {
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return ast.Static{}, fmt.Errorf("the integer %s is out of range: at most %d", shorten(s), math.MaxInt64)
		}
		return ast.Int(n), nil
	}
	if strings.Trim(s, "0123456789.eE+-") == "" {
		f, err := strconv.ParseFloat(s, 64)
		switch {
		case err == nil:
			return ast.Float(f), nil
		case errors.Is(err, strconv.ErrRange):
			return ast.Static{}, fmt.Errorf("the number %s is out of range", shorten(s))
		}
	}
	d, err := ParseDuration(s)
	if err != nil {
		return ast.Static{}, err
	}
	return ast.Duration(int64(d)), nil
}

// units holds the length of a unit and whether fractions of it can be given. Longer spellings come first.
var units = []struct {
	name     string
	length   time.Duration
	fraction bool
}{
	{"ns", time.Nanosecond, true},
	{"us", time.Microsecond, true},
	{"µs", time.Microsecond, true},
	{"μs", time.Microsecond, true},
	{"ms", time.Millisecond, true},
	{"s", time.Second, true},
	{"m", time.Minute, true},
	{"h", time.Hour, true},
	{"d", 24 * time.Hour, false},
	{"w", 7 * 24 * time.Hour, false},
	{"y", 365 * 24 * time.Hour, false},
}

// ParseDuration reads a duration in Prometheus's or Go's notation (L-04).
func ParseDuration(s string) (time.Duration, error) {
	var total float64
	var exact int64
	rest := s
	for rest != "" {
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n <= 0 {
			return 0, malformed(s)
		}
		number := rest[:n]
		rest = rest[n:]
		unit := -1
		for i, u := range units {
			if strings.HasPrefix(rest, u.name) {
				unit = i
				break
			}
		}
		if unit < 0 {
			return 0, malformed(s)
		}
		u := units[unit]
		rest = rest[len(u.name):]
		whole, err := strconv.ParseInt(number, 10, 64)
		if err == nil {
			total += float64(whole) * float64(u.length)
			exact += whole * int64(u.length)
		} else {
			// Go's own rounding: what is below a nanosecond is cut off.
			d, err := time.ParseDuration(number + strings.ReplaceAll(u.name, "μ", "µ"))
			if err != nil || !u.fraction {
				return 0, malformed(s)
			}
			total += float64(d)
			exact += int64(d)
		}
		if total >= math.MaxInt64 {
			return 0, fmt.Errorf("the duration %s is out of range", shorten(s))
		}
	}
	return time.Duration(exact), nil
}

func malformed(s string) error {
	return fmt.Errorf("%s is neither a number nor a duration: numbers are decimal, "+
		"durations are numbers with units (ns us µs ms s m h d w y) such as 1m30s", shorten(s))
}
