package traceql

import (
	"fmt"
	"strings"
	"testing"
)

// TestNeeds: what a trace must have, besides a span for which the anchor holds, before it is worth reading.
func TestNeeds(t *testing.T) {
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{`{ status = error }`, nil},
		{`{ status = error && (name = "a" || kind = server) }`, nil},
		{`{ } | count() > 40`, []string{"41 of true"}},
		{`{ } | count() >= 2.5`, []string{"3 of true"}},
		{`{ } | count() = 7`, []string{"7 of true"}},
		{`{ } | count() > -3`, nil},
		{`{ } | count() < 3`, nil},
		{`{ } | count() != 3`, nil},
		{`{ status = error } | count() > 2`, []string{"3 of status = error"}},
		{`{ status = error } | by(name) | count() > 2`, []string{"3 of status = error"}},
		{`{ status = error } | avg(duration) > 2s`, nil},
		{`{ name = "a" } >> { kind = server }`, []string{"1 of kind = server"}}, // The name is the anchor.
		{`{ name = "a" } !>> { kind = server }`, nil},
		{`{ name = "a" } && { kind = server }`, []string{"1 of kind = server"}},
		{`{ name = "a" } || { kind = server }`, nil},
		{`{ name = "a" } >> { kind = server } | count() > 1`, []string{"2 of kind = server"}},
		{`{ name = "a" } &>> { kind = server } | count() > 1`, []string{"1 of kind = server", `2 of or(name = "a", kind = server)`}},
		{`({ name = "a" } | count() > 1) ~ ({ kind = server })`, []string{`2 of name = "a"`, "1 of kind = server"}},
		{`{ name = "a" } >> { traceDuration > 1s && kind = server }`, []string{"1 of kind = server"}},
		{`{ name = "a" } >> { traceDuration > 1s }`, nil},
		{`{ name = "a" } << { nestedSetParent < 0 }`, []string{"1 of span:parentID not exists"}},
		// These are not cheap to decide for spans that need not be looked at.
		{`{ name = "a" } >> { span.x =~ "b.*" }`, nil},
		{`{ name = "a" } >> { .x = "b" }`, nil},
		{`{ name = "a" } >> { event:name = "b" }`, nil},
		{`{ name = "a" } >> { span.x != nil }`, nil},
		{`{ name = "a" } >> { span.x + span.y > 2 }`, nil},
	} {
		q, err := Compile(tc.query)
		if err != nil {
			t.Fatalf("%s: %v", tc.query, err)
		}
		var got []string
		for _, n := range q.Search.Needs {
			got = append(got, fmt.Sprintf("%d of %s", n.Spans, n.Cond))
		}
		if strings.Join(got, "; ") != strings.Join(tc.want, "; ") {
			t.Errorf("%s: needs %q, want %q", tc.query, got, tc.want)
		}
	}
}
