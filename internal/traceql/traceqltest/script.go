package traceqltest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// Epoch is the time that scripts count from: a whole hour, Unix nanoseconds.
const Epoch = int64(1_700_002_800_000_000_000)

// Script is a parsed script: one set of spans and the cases over them.
type Script struct {
	Name  string
	Batch *store.Batch
	Cases []Case
	load  []string // The lines up to the first case, for rewriting.
}

// Case is one evaluation.
type Case struct {
	Line   int
	Verb   string
	IDs    string
	Args   []string // Times, or the scope or attribute.
	Query  string
	Want   []string
	before []string // Comments and blank lines.
}

// argsOf is how many arguments stand between the ids and the query.
var argsOf = map[string]int{"search": 0, "show": 0, "instant": 2, "range": 3, "names": 1, "values": 1}

// ParseScript parses a script.
func ParseScript(name, text string) (*Script, error) {
	s := &Script{Name: name, Batch: &store.Batch{}}
	var comments []string
	var current *Case
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		verb, rest, _ := strings.Cut(line, " ")
		n, isCase := argsOf[verb]
		switch {
		case isCase:
			c, err := parseCase(verb, rest, n)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			c.Line, c.before, comments = i+1, comments, nil
			s.Cases = append(s.Cases, c)
			current = &s.Cases[len(s.Cases)-1]
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			comments = append(comments, line)
			if current == nil {
				s.load, comments = append(s.load, line), nil
			}
		case current != nil:
			current.Want = append(current.Want, line)
		default:
			s.load = append(s.load, line)
			if err := s.loadLine(verb, rest); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
		}
	}
	return s, nil
}

func parseCase(verb, rest string, n int) (Case, error) {
	f := strings.SplitN(rest, " ", n+2)
	if len(f) < n+1 {
		return Case{}, fmt.Errorf("%s needs ids and %d arguments", verb, n)
	}
	c := Case{Verb: verb, IDs: f[0], Args: f[1 : n+1]}
	if len(f) > n+1 {
		c.Query = f[n+1]
	}
	return c, nil
}

// Text prints the script with what is expected now.
func (s *Script) Text() string {
	var b strings.Builder
	for _, l := range s.load {
		b.WriteString(l + "\n")
	}
	for _, c := range s.Cases {
		for _, l := range c.before {
			b.WriteString(l + "\n")
		}
		b.WriteString(strings.TrimRight(strings.Join(append(append([]string{c.Verb, c.IDs}, c.Args...), c.Query), " "), " ") + "\n")
		for _, l := range c.Want {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// loadLine adds a span, event or link.
func (s *Script) loadLine(verb, rest string) error {
	f, err := fields(rest)
	if err != nil {
		return err
	}
	switch verb {
	case "load":
		return nil
	case "span":
		return s.loadSpan(f)
	}
	if len(s.Batch.Spans) == 0 || len(f) < 2 {
		return fmt.Errorf("%s: stands after no span or lacks arguments", verb)
	}
	span := &s.Batch.Spans[len(s.Batch.Spans)-1]
	attrs, err := scriptAttrs(f[2:])
	if err != nil {
		return err
	}
	switch verb {
	case "event":
		d, err := time.ParseDuration(f[0])
		if err != nil {
			return fmt.Errorf("event: %w", err)
		}
		v, err := scriptValue(f[1])
		if err != nil {
			return err
		}
		span.Events = append(span.Events, store.Event{TimeNano: span.StartNano + uint64(d), Name: v.Str, Attrs: attrs}) //nolint:gosec // Wraps for times before.
		return nil
	case "link":
		trace, err1 := spanid.ParseTraceID(f[0])
		id, err2 := spanid.ParseSpanID(f[1])
		span.Links = append(span.Links, store.Link{TraceID: trace, SpanID: id, Attrs: attrs})
		return errors.Join(err1, err2)
	}
	return fmt.Errorf("unknown verb %q", verb)
}

func (s *Script) loadSpan(f []string) error {
	if len(f) < 5 {
		return errors.New("span needs a trace, an id, a parent, a start and a duration")
	}
	trace, err1 := spanid.ParseTraceID(f[0])
	id, err2 := spanid.ParseSpanID(f[1])
	var parent spanid.SpanID
	var err3 error
	if f[2] != "-" {
		parent, err3 = spanid.ParseSpanID(f[2])
	}
	start, err4 := time.ParseDuration(f[3])
	duration, err5 := time.ParseDuration(f[4])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("span: %w", err)
	}
	from := uint64(Epoch + int64(start))
	span := store.Span{TraceID: trace, SpanID: id, ParentID: parent, StartNano: from, EndNano: from + uint64(duration)} //nolint:gosec // Small.
	var resource store.Resource
	var scope store.Scope
	for _, kv := range f[5:] {
		key, text, _ := strings.Cut(kv, "=")
		word, isWord := ast.Keyword(text)
		v, err := scriptValue(text)
		switch {
		case key == "kind" && isWord:
			span.Kind = int32(word.N) //nolint:gosec // A keyword's number.
		case key == "status" && isWord:
			span.StatusCode = int32(word.N) //nolint:gosec // As above.
		case err != nil:
			return fmt.Errorf("span: %s: %w", kv, err)
		case key == "name":
			span.Name = v.Str
		case key == "message":
			span.StatusMessage = v.Str
		case key == "service":
			resource.Attrs = append(resource.Attrs, store.Attr{Key: "service.name", Value: v})
		case key == "scope":
			scope.Name = v.Str
		case key == "version":
			scope.Version = v.Str
		case strings.HasPrefix(key, "r."):
			resource.Attrs = append(resource.Attrs, store.Attr{Key: key[2:], Value: v})
		case strings.HasPrefix(key, "i."):
			scope.Attrs = append(scope.Attrs, store.Attr{Key: key[2:], Value: v})
		default:
			span.Attrs = append(span.Attrs, store.Attr{Key: key, Value: v})
		}
	}
	span.Resource, span.Scope = int32(len(s.Batch.Resources)), int32(len(s.Batch.Scopes)) //nolint:gosec // Few.
	s.Batch.Resources = append(s.Batch.Resources, resource)
	s.Batch.Scopes = append(s.Batch.Scopes, scope)
	s.Batch.Spans = append(s.Batch.Spans, span)
	return nil
}

// fields cuts a line at blanks outside of quotes and square brackets.
func fields(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted, depth := false, 0
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quoted && i+1 < len(line):
			b.WriteByte(c)
			i++
			c = line[i]
		case c == '"':
			quoted = !quoted
		case c == '[' && !quoted:
			depth++
		case c == ']' && !quoted:
			depth--
		case c == ' ' && !quoted && depth == 0:
			if b.Len() > 0 {
				out = append(out, b.String())
				b.Reset()
			}
			continue
		}
		b.WriteByte(c)
	}
	if quoted || depth != 0 {
		return nil, errors.New("a quote or bracket is not closed")
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out, nil
}

func scriptAttrs(f []string) ([]store.Attr, error) {
	var out []store.Attr
	for _, kv := range f {
		key, text, _ := strings.Cut(kv, "=")
		v, err := scriptValue(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv, err)
		}
		out = append(out, store.Attr{Key: key, Value: v})
	}
	return out, nil
}

// scriptValue reads a value: a string, number, boolean, array, or bytes, map and empty by name.
func scriptValue(s string) (store.Value, error) {
	switch s {
	case "true", "false":
		return store.Bool(s == "true"), nil
	case "bytes":
		return store.Bytes("\x00\x01"), nil
	case "map":
		return store.Map(store.Attr{Key: "k", Value: store.Int(1)}), nil
	case "empty":
		return store.Empty(), nil
	}
	if strings.HasPrefix(s, "[") {
		var elems []store.Value
		for e := range strings.SplitSeq(strings.Trim(s, "[]"), ",") {
			if e = strings.TrimSpace(e); e == "" {
				continue
			}
			v, err := scriptValue(e)
			if err != nil {
				return v, err
			}
			elems = append(elems, v)
		}
		return store.Array(elems...), nil
	}
	if strings.HasPrefix(s, `"`) {
		text, err := strconv.Unquote(s)
		if err != nil {
			return store.Value{}, fmt.Errorf("string %s: %w", s, err)
		}
		return store.String(text), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return store.Int(n), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return store.Value{}, fmt.Errorf("%q is no value", s)
	}
	return store.Float(f), nil
}
