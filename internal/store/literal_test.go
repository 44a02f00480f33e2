package store

import (
	"regexp"
	"strings"
	"testing"
)

func TestRequiredLiteral(t *testing.T) {
	for expr, want := range map[string]string{
		`^(?s:abc)$`: "abc", `^(?s:.*/internal/00.*order=ord-1.*)$`: "/internal/00", `a|b`: "", `(?i)abc`: "", `a*bcd?`: "bc",
		`x{2,}yy`: "yy", `(foo)+.`: "foo", `(foo)?`: "", `[abc]`: "", `(a|ab)c\.d`: "c.d", ``: "", `日本.*`: "日本",
	} {
		if got := RequiredLiteral(regexp.MustCompile(expr)); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// FuzzRequiredLiteral checks that whatever matches contains the literal.
func FuzzRequiredLiteral(f *testing.F) {
	f.Add("a+b(cd|ce)f*", "xaabcdff")
	f.Add("(?i)ab|cd", "AB")
	f.Add("\xff.*", "\xff")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil || len(expr) > 1000 {
			return
		}
		if literal := RequiredLiteral(re); re.MatchString(text) && !strings.Contains(text, literal) {
			t.Errorf("%q matches %q, which has no %q", expr, text, literal)
		}
	})
}
