package traceqltest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// generator makes random traces and queries from few names and values, so that they meet often.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) value() store.Value {
	switch g.IntN(12) {
	case 0:
		return store.String(pick(g, "a", "b", "", "nil", "7"))
	case 1, 2:
		return store.String(pick(g, "a", "b"))
	case 3, 4, 5:
		return store.Int(int64(g.IntN(5)) - 1)
	case 6:
		return store.Float(pick(g, 0.5, 1, 2.5, -1))
	case 7, 8:
		return store.Bool(g.IntN(2) == 0)
	case 9:
		return store.Array(store.String("a"), store.String(pick(g, "b", "c")))
	case 10:
		return pick(g, store.Array(store.Int(1), store.Int(2)), store.Array(), store.Array(store.Bool(true), store.Bool(false)))
	}
	return pick(g, store.Bytes("x"), store.Empty(), store.Map())
}

func (g generator) attrs(most int) (out []store.Attr) {
	keys := []string{"x", "y", "z"}
	g.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys[:g.IntN(most+1)] {
		out = append(out, store.Attr{Key: k, Value: g.value()})
	}
	return out
}

// scalars are the attributes of events and links: arrays of several events cannot be told from arrays in one.
func (g generator) scalars() []store.Attr {
	return slices.DeleteFunc(g.attrs(1), func(a store.Attr) bool { return a.Value.Type == store.TypeArray })
}

// traces makes n traces of up to 9 spans, some of them without roots, with cycles or shared ids.
func (g generator) traces(n int) *store.Batch {
	b := &store.Batch{}
	for range 6 {
		r := store.Resource{Attrs: g.attrs(2)}
		if g.IntN(4) > 0 {
			r.Attrs = append(r.Attrs, store.Attr{Key: "service.name", Value: store.String(pick(g, "s1", "s2", ""))})
		}
		b.Resources = append(b.Resources, r)
		b.Scopes = append(b.Scopes, store.Scope{Name: pick(g, "", "lib"), Attrs: g.attrs(1)})
	}
	for t := range n {
		id := spanid.TraceID{0: byte(g.IntN(3)), 15: byte(t + 1)}
		spans := 1 + g.IntN(9)
		start := uint64(Epoch) + uint64(g.IntN(100))*1e9
		for i := range spans {
			s := store.Span{
				TraceID: id, SpanID: spanid.SpanID{7: byte(i + 1)}, Resource: int32(g.IntN(6)), Scope: int32(g.IntN(6)),
				Kind: int32(g.IntN(4)), StatusCode: int32(g.IntN(3)), Name: pick(g, "n1", "n2", "n3"),
				StatusMessage: pick(g, "", "m"), StartNano: start + uint64(g.IntN(50))*1e6, Attrs: g.attrs(3),
			}
			s.EndNano = s.StartNano + uint64(g.IntN(20))*1e6
			if i > 0 || g.IntN(6) == 0 {
				s.ParentID = spanid.SpanID{7: byte(1 + g.IntN(spans+1))}
			}
			if g.IntN(25) == 0 {
				s.SpanID = spanid.SpanID{7: byte(1 + g.IntN(spans))}
			}
			for range g.IntN(3) {
				s.Events = append(s.Events, store.Event{TimeNano: s.StartNano + uint64(g.IntN(3)), Name: pick(g, "e1", "e2"), Attrs: g.scalars()})
			}
			if g.IntN(5) == 0 {
				s.Links = append(s.Links, store.Link{TraceID: id, SpanID: spanid.SpanID{7: 1}, Attrs: g.scalars()})
			}
			b.Spans = append(b.Spans, s)
		}
	}
	g.Shuffle(len(b.Spans), func(i, j int) { b.Spans[i], b.Spans[j] = b.Spans[j], b.Spans[i] })
	return dedupe(b)
}

// dedupe removes spans that the store's contract takes for copies: same trace, id and kind.
func dedupe(b *store.Batch) *store.Batch {
	seen := map[string]bool{}
	b.Spans = slices.DeleteFunc(b.Spans, func(s store.Span) bool {
		k := fmt.Sprint(s.TraceID, s.SpanID, s.Kind)
		had := seen[k]
		seen[k] = true
		return had
	})
	return b
}

func (g generator) attr() string {
	return pick(g, "span.x", "span.y", "span.x", ".x", ".y", "resource.x", "resource.service.name", ".z", "event.x", "link.x", "instrumentation.x")
}

func (g generator) literal() string {
	return pick(g, `"a"`, `"b"`, `"c"`, `"nil"`, `""`, "0", "1", "2", "-1", "0.5", "1.0", "true", "false", "1ms", "ok", "server")
}

func (g generator) number(depth int) string {
	if depth <= 0 || g.IntN(2) == 0 {
		return pick(g, "span.x", ".y", "1", "2", "0", "0.5", "duration", "nestedSetLeft", "span:childCount", "1ms")
	}
	op := pick(g, "+", "-", "*", "/", "%", "^")
	if op == "^" {
		return "(" + g.number(0) + " ^ " + pick(g, "2", "0", "0.5") + ")"
	}
	return "(" + g.number(depth-1) + " " + op + " " + g.number(depth-1) + ")"
}

// condition makes a boolean expression; some do not pass validation and are skipped.
func (g generator) condition(depth int) string {
	if depth > 0 && g.IntN(3) > 0 {
		switch g.IntN(6) {
		case 0:
			return "!(" + g.condition(depth-1) + ")"
		case 1:
			return "(" + g.condition(depth-1) + ") = " + pick(g, "true", "false")
		case 2, 3:
			return "(" + g.condition(depth-1) + " && " + g.condition(depth-1) + ")"
		}
		return "(" + g.condition(depth-1) + " || " + g.condition(depth-1) + ")"
	}
	cmp := pick(g, "=", "!=", "<", "<=", ">", ">=")
	eq := pick(g, "=", "!=")
	switch g.IntN(16) {
	case 0:
		return g.attr() + " " + eq + " nil"
	case 1:
		return pick(g, "", "!") + g.attr()
	case 2:
		return g.attr() + " " + pick(g, "=~", "!~") + " " + pick(g, `"a|b"`, `".*"`, `"[bc]"`)
	case 3:
		return g.attr() + " " + cmp + " " + g.attr()
	case 4:
		return g.number(2) + " " + cmp + " " + g.number(1)
	case 5:
		return "status " + eq + " " + pick(g, "ok", "error", "unset")
	case 6:
		return "kind " + eq + " " + pick(g, "server", "client", "internal")
	case 7:
		return "name " + cmp + " " + pick(g, `"n1"`, `"n2"`)
	case 8:
		return "duration " + cmp + " " + pick(g, "5ms", "10ms", "0")
	case 9:
		return pick(g, "rootName", "rootServiceName") + " " + cmp + " " + pick(g, `"n1"`, `"s1"`, `""`)
	case 10:
		return pick(g, "nestedSetParent < 0", "nestedSetParent = -1", "nestedSetParent > 1", "span:childCount > 0", "traceDuration > 20ms", "event:name != nil")
	case 11:
		return "event:name " + eq + " " + pick(g, `"e1"`, `"e2"`)
	case 12:
		return g.literal() + " " + cmp + " " + g.attr()
	}
	return g.attr() + " " + cmp + " " + g.literal()
}

func (g generator) filter() string {
	if g.IntN(8) == 0 {
		return "{ }"
	}
	return "{ " + g.condition(2) + " }"
}

func (g generator) spanset(depth int) string {
	if depth <= 0 || g.IntN(2) == 0 {
		return g.filter()
	}
	op := pick(g, "&&", "||", ">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~")
	return "(" + g.spanset(depth-1) + " " + op + " " + g.spanset(depth-1) + ")"
}

func (g generator) pipeline() string {
	q := g.spanset(2)
	for range g.IntN(3) {
		switch g.IntN(6) {
		case 0:
			q += " | by(" + pick(g, g.attr(), "name", "status = error", "kind") + ")"
		case 1:
			q += " | coalesce()"
		case 2:
			q += " | count() " + pick(g, ">", "<", "=") + " " + pick(g, "1", "2", "3")
		case 3:
			q += " | " + pick(g, "avg", "min", "max", "sum") + "(" + g.number(1) + ") " + pick(g, ">", "<=") + " " + pick(g, "1", "0.5", "5ms")
		case 4:
			q += " | select(" + g.attr() + ")"
		case 5:
			q += " | " + g.spanset(1)
		}
	}
	return q
}

func naiveLines(b *store.Batch, p *ast.Pipeline) []string {
	var out []string
	for id, spans := range naiveTraces(b) {
		for _, set := range NewNaive(b, spans).Eval(p) {
			var ids []string
			for _, i := range set {
				ids = append(ids, fmt.Sprintf("%s/%d", spans[i].SpanID, spans[i].StartNano))
			}
			slices.Sort(ids)
			out = append(out, id.String()+": "+strings.Join(ids, " "))
		}
	}
	slices.Sort(out)
	return out
}

func engineLines(t *testing.T, v store.View, query string) []string {
	t.Helper()
	q, err := traceql.Compile(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	res, err := exec.Search(t.Context(), v, q, exec.SearchOptions{Limit: 10_000, SpansPerSpanSet: 10_000})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var out []string
	for _, tr := range res.Traces {
		for _, set := range tr.Spansets {
			var ids []string
			for _, s := range set.Spans {
				ids = append(ids, fmt.Sprintf("%s/%d", s.ID, s.StartNano))
			}
			slices.Sort(ids)
			out = append(out, tr.ID.String()+": "+strings.Join(ids, " "))
		}
	}
	slices.Sort(out)
	return out
}

// rounds is how many random worlds a test looks at.
func rounds(short int) int {
	if os.Getenv("BRAMBLE_FULL") == "1" {
		return short * 50
	}
	return short
}

func TestRandomQueries(t *testing.T) {
	const perWorld = 60
	ran := 0
	for seed := range rounds(6) {
		g := generator{rand.New(rand.NewPCG(uint64(seed), 1))}
		b := g.traces(12)
		views := map[string]store.View{"one part": oracleView(t, b, 0), "parts of 7": oracleView(t, b, 7), "parts of 1": oracleView(t, b, 1)}
		for range perWorld {
			query := g.pipeline()
			q, err := traceql.Parse(query)
			if err != nil {
				continue // The generator does not know all rules of types.
			}
			ran++
			want := naiveLines(b, q.Pipeline)
			for name, v := range views {
				if got := engineLines(t, v, query); !slices.Equal(got, want) {
					t.Fatalf("seed %d, %s: %s\nplan: %s\ngot:\n%s\nwant:\n%s", seed, name, query, explain(query), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
	t.Logf("%d queries", ran)
	if ran < rounds(6)*perWorld/5 {
		t.Errorf("only %d queries were valid", ran)
	}
}

func explain(query string) string {
	p, err := traceql.Compile(query)
	if err != nil {
		return err.Error()
	}
	return p.Explain()
}

// TestScriptsNaively runs the searches of the corpus through the naive evaluator.
func TestScriptsNaively(t *testing.T) {
	scripts, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		v := oracleView(t, s.Batch, 3)
		for _, c := range s.Cases {
			q, err := traceql.Parse(c.Query)
			if c.Verb != "search" || err != nil || q.Pipeline == nil {
				continue
			}
			if want, got := naiveLines(s.Batch, q.Pipeline), engineLines(t, v, c.Query); !slices.Equal(got, want) {
				t.Errorf("%s:%d %s\ngot:\n%s\nwant:\n%s", s.Name, c.Line, c.Query, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}
