package selfcheck

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Write prints one line for each check, and one more with what to do where something is to be done. Control characters of
// what others have said (an answer, a name) are replaced.
func Write(w io.Writer, checks []Check) {
	width := 0
	for i := range checks {
		width = max(width, len(checks[i].Name))
	}
	for i := range checks {
		c := &checks[i]
		fmt.Fprintf(w, "%-7s %-*s  %s\n", c.State, width, c.Name, OneLine(c.Detail))
		if c.Fix != "" {
			fmt.Fprintf(w, "%-7s %-*s  to do: %s\n", "", width, "", OneLine(c.Fix))
		}
	}
}

// maxLine bounds a line, in bytes.
const maxLine = 1000

// OneLine makes one printable line of a text.
func OneLine(s string) string {
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}
