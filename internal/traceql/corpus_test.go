package traceql

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/lexer"
	"github.com/bramble-tracing/bramble/internal/traceql/parser"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// corpusEntry is a line of testdata/queries.txt.
type corpusEntry struct {
	line                int
	verdict, ids, query string
}

func readCorpus(tb testing.TB) []corpusEntry {
	tb.Helper()
	b, err := os.ReadFile("testdata/queries.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var out []corpusEntry
	for i, l := range strings.Split(string(b), "\n") {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		f := strings.SplitN(l, "\t", 3)
		if len(f) != 3 {
			tb.Fatalf("line %d has no three columns: %q", i+1, l)
		}
		q := strings.NewReplacer("⏎", "\n", "⇥", "\t").Replace(f[2])
		out = append(out, corpusEntry{i + 1, f[0], f[1], q})
	}
	return out
}

func TestCorpus(t *testing.T) {
	counts := map[string]int{}
	for _, e := range readCorpus(t) {
		counts[e.verdict]++
		q, err := parser.Parse(e.query)
		switch e.verdict {
		case "syntax":
			var syntax *parser.Error
			if !errors.As(err, &syntax) {
				t.Errorf("line %d %s: %q parses to %v, want a syntax error", e.line, e.ids, e.query, q)
				continue
			}
			checkPosition(t, e, syntax)
		case "valid", "invalid":
			if err != nil {
				t.Errorf("line %d %s: %q: %v", e.line, e.ids, e.query, err)
				continue
			}
			if err := Validate(q); (err == nil) != (e.verdict == "valid") {
				t.Errorf("line %d %s: %q: validation says %v, want %s", e.line, e.ids, e.query, err, e.verdict)
			}
			checkRoundTrip(t, q)
			if e.verdict == "valid" {
				checkPlan(t, e.query)
			}
		default:
			t.Errorf("line %d: unknown verdict %q", e.line, e.verdict)
		}
	}
	if counts["valid"] < 150 || counts["syntax"] < 100 || counts["invalid"] < 60 {
		t.Errorf("the corpus has shrunk: %v", counts)
	}
}

// checkPosition checks that an error points into the query and says something (L-50).
func checkPosition(t *testing.T, e corpusEntry, err *parser.Error) {
	t.Helper()
	lines := strings.Split(e.query, "\n")
	if err.Line < 1 || err.Line > len(lines) || err.Col < 1 || err.Col > len([]rune(lines[err.Line-1]))+1 || len(err.Reason) < 10 {
		t.Errorf("line %d: %q: error %v does not point into the query", e.line, e.query, err)
	}
	if !strings.HasPrefix(err.Error(), "parse error at line ") {
		t.Errorf("line %d: error text %q", e.line, err)
	}
}

func checkRoundTrip(tb testing.TB, q *ast.Query) {
	tb.Helper()
	text := q.String()
	again, err := parser.Parse(text)
	if err != nil {
		tb.Errorf("%q, printed from a tree, does not parse: %v", text, err)
		return
	}
	if !reflect.DeepEqual(q, again) {
		tb.Errorf("%q parses to another tree than it was printed from: %s", text, again)
	}
}

func checkPlan(tb testing.TB, query string) {
	tb.Helper()
	p, err := Compile(query)
	if err != nil {
		tb.Errorf("plan %q: %v", query, err)
		return
	}
	if p.Explain() == "" {
		tb.Errorf("plan of %q explains nothing", query)
	}
}

func TestTrees(t *testing.T) { // The tree is shown by full brackets.
	for _, tc := range []struct{ ids, query, want string }{
		{"L-20", `{ .a || .b && .c }`, `((.a || .b) && .c)`},
		{"L-20", `{ .a && .b || .c }`, `((.a && .b) || .c)`},
		{"L-22", `{ -.a * 2 = 1 }`, `((-(.a * 2)) = 1)`},
		{"L-22", `{ -.a ^ 2 = 1 }`, `((-(.a ^ 2)) = 1)`},
		{"L-22", `{ -.a + 1 = 1 }`, `(((-.a) + 1) = 1)`},
		{"L-22", `{ !.a && .b }`, `((!.a) && .b)`},
		{"L-22", `{ !.a = 1 }`, `((!.a) = 1)`},
		{"L-22", `{ !.a * 2 = 1 }`, `((!(.a * 2)) = 1)`},
		{"L-23", `{ .a = 1 = true }`, `((.a = 1) = true)`},
		{"4.3", `{ 2 ^ 3 ^ 2 = .a }`, `((2 ^ (3 ^ 2)) = .a)`},
		{"4.3", `{ 1 + 2 * 3 - 4 = .a }`, `(((1 + (2 * 3)) - 4) = .a)`},
		{"4.3", `{ .a * -.b + 1 = 2 }`, `(((.a * (-.b)) + 1) = 2)`},
		{"L-21", `{.a} && {.b} >> {.c}`, `({ .a } && ({ .b } >> { .c }))`},
		{"L-21", `{.a} > {.b} && {.c}`, `(({ .a } > { .b }) && { .c })`},
		{"L-21", `{.a} >> {.b} > {.c}`, `(({ .a } >> { .b }) > { .c })`},
		{"L-20", `{.a} || {.b} && {.c}`, `(({ .a } || { .b }) && { .c })`},
		{"L-06", `{ .foo-bar = .x*2 }`, `(.foo-bar = .x*2)`},
		{"L-07", `{ .a"b c"d = span."a.b" }`, `(."ab cd" = span.a.b)`},
		{"X-15", `{ span:name = trace:rootService }`, `(name = rootServiceName)`},
	} {
		q, err := parser.Parse(tc.query)
		if err != nil {
			t.Errorf("%s %s: %v", tc.ids, tc.query, err)
			continue
		}
		got := ""
		switch s := q.Pipeline.Stages[0].(type) {
		case *ast.Filter:
			got = bracketed(s.X)
		case *ast.SpansetOp:
			got = bracketedSet(s)
		}
		if got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.ids, tc.query, got, tc.want)
		}
	}
}

func bracketed(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Unary:
		return "(" + x.Op.String() + bracketed(x.X) + ")"
	case *ast.Binary:
		return "(" + bracketed(x.L) + " " + x.Op.String() + " " + bracketed(x.R) + ")"
	}
	return x.String()
}

func bracketedSet(s ast.Spanset) string {
	if op, ok := s.(*ast.SpansetOp); ok {
		return "(" + bracketedSet(op.L) + " " + op.Op.String() + " " + bracketedSet(op.R) + ")"
	}
	return s.String()
}

func TestErrorPositions(t *testing.T) { // L-50
	for _, tc := range []struct{ query, want string }{
		{`{ span.a == 1 }`, `parse error at line 1, col 11: unexpected "="`},
		{"{ span.a = 1 &&\n  bare = 2 }", `parse error at line 2, col 3: unknown word "bare"`},
		{`{ span.ä = 'x' }`, `parse error at line 1, col 12: strings are written in double quotes`},
		{`{ span.a = 1`, `parse error at line 1, col 13: unexpected end of query, expected an operator or }`},
		{`{ } | rate() + 1`, `parse error at line 1, col 14: unexpected "+", put metrics queries in brackets`},
	} {
		_, err := Parse(tc.query)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want %s…", tc.query, err, tc.want)
		}
	}
}

// TestAdvice: who writes as in another language is told how it is written here.
func TestAdvice(t *testing.T) {
	for text, advice := range map[string]string{
		`{ name == "a" }`:                        "equality is =",
		`{ name = "a" and duration > 1s }`:       "logical and is &&",
		`{ name = "a" OR duration > 1s }`:        "logical or is ||",
		`{ resource.service.name in ("a","b") }`: "use =~ with alternatives",
		`{ duration > 500 ms }`:                  "write 500ms without a space",
		`{ name = "a" ms }`:                      "expected an operator or }",
	} {
		_, err := Compile(text)
		if err == nil || !strings.HasSuffix(err.Error(), advice) {
			t.Errorf("%s: %v, not %q", text, err, advice)
		}
	}
}

func TestValidationNamesTypes(t *testing.T) { // L-40
	for query, want := range map[string][]string{
		`{ duration = "1s" }`:                {"duration", "string", `"1s"`},
		`{ status = server }`:                {"status", "kind"},
		`{ span.a && 1 }`:                    {"&&", "int"},
		`{ name }`:                           {"string"},
		`{ } | sum(name) > 1`:                {"sum", "string"},
		`{ } | count() > count()`:            {"not yet supported"},
		`{ } | count() + 1 > 3`:              {"not yet supported"},
		`{ parent.a = 1 }`:                   {"not yet supported"},
		`{ } | rate() by(.a,.b,.c,.d,.e,.f)`: {"6", "not yet supported"},
	} {
		_, err := Parse(query)
		if err == nil {
			t.Errorf("%s: no error", query)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not mention %q", query, err, w)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	long := "{ span.a = 1" + strings.Repeat(" || span.a = 1", 9000) + " }"
	q, err := Parse(long)
	if err != nil {
		t.Fatalf("a long chain of operators: %v", err)
	}
	checkRoundTrip(t, q)
	p, err := Compile(long)
	if err != nil || p.Search.Local == nil {
		t.Fatalf("plan of a long chain: %v", err)
	}
	for what, query := range map[string]string{
		"size":     "{ span.a = \"" + strings.Repeat("x", parser.MaxBytes) + "\" }",
		"brackets": "{ " + strings.Repeat("(", 10_000) + "true" + strings.Repeat(")", 10_000) + " }",
		"spansets": strings.Repeat("(", 10_000) + "{ }" + strings.Repeat(")", 10_000),
		"nots":     "{ " + strings.Repeat("!", 50_000) + "true }",
		"minuses":  "{ " + strings.Repeat("- ", 50_000) + ".a = 1 }",
		"powers":   "{ .a " + strings.Repeat("^ 1 ", 10_000) + "= 1 }",
	} {
		if _, err := Parse(query); err == nil {
			t.Errorf("%s: no error for a query without bounds", what)
		}
	}
}

func FuzzLexer(f *testing.F) {
	for _, e := range readCorpus(f) {
		f.Add(e.query)
	}
	f.Fuzz(func(t *testing.T, s string) {
		end := 0
		for _, tok := range lexer.All(s) {
			if tok.Pos.Offset < end || tok.End < tok.Pos.Offset || tok.End > len(s) {
				t.Fatalf("%q: token %+v does not follow byte %d", s, tok, end)
			}
			if tok.Kind == lexer.Invalid && tok.Err == "" {
				t.Fatalf("%q: token without a reason", s)
			}
			end = tok.End
		}
	})
}

func FuzzParser(f *testing.F) {
	for _, e := range readCorpus(f) {
		f.Add(e.query)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parser.Parse(s)
		if err != nil {
			var syntax *parser.Error
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Col < 1 {
				t.Fatalf("%q: error %v", s, err)
			}
			return
		}
		checkRoundTrip(t, q)
	})
}

func FuzzPlanner(f *testing.F) {
	for _, e := range readCorpus(f) {
		f.Add(e.query)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := Parse(s); err == nil {
			p, err := plan.New(q)
			if err != nil {
				t.Fatalf("%q is valid and cannot be planned: %v", s, err)
			}
			_ = p.Explain()
		}
		if _, err := ParseFilter(s); err != nil && !strings.Contains(err.Error(), "alternatives") {
			t.Fatalf("lenient parsing of %q: %v", s, err)
		}
	})
}
