package tempoapi

import (
	"fmt"
	"strconv"
	"strings"
)

// parseLogfmt reads `key=value key="quoted value" flag` (S-02). A key without a value has an empty one. A key that is
// given twice is an error, because the tags are AND-ed.
func parseLogfmt(s string) (map[string]string, error) {
	tags := make(map[string]string)
	for rest := strings.TrimLeft(s, " \t\n"); rest != ""; rest = strings.TrimLeft(rest, " \t\n") {
		end := strings.IndexAny(rest, "= \t\n")
		if end < 0 {
			end = len(rest)
		}
		key := rest[:end]
		if key == "" {
			return nil, fmt.Errorf("a key is missing before %q", rest)
		}
		rest = rest[end:]
		value := ""
		if after, ok := strings.CutPrefix(rest, "="); ok {
			var err error
			if value, rest, err = logfmtValue(after); err != nil {
				return nil, fmt.Errorf("tag %s: %w", key, err)
			}
		}
		if _, ok := tags[key]; ok {
			return nil, fmt.Errorf("tag %s has been set twice", key)
		}
		tags[key] = value
	}
	return tags, nil
}

// logfmtValue cuts a value from the front of s.
func logfmtValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t\n")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], nil
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("the quoted value %s is not complete", s)
	}
	if value, err = strconv.Unquote(quoted); err != nil {
		return "", "", fmt.Errorf("the quoted value %s is not valid", quoted)
	}
	rest = s[len(quoted):]
	if rest != "" && !strings.ContainsRune(" \t\n", rune(rest[0])) {
		return "", "", fmt.Errorf("a space is missing after %s", quoted)
	}
	return value, rest, nil
}
