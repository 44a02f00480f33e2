package pii

import "strings"

// obfuscateJSON replaces the values of a statement that is JSON or nearly so: MongoDB's shell syntax, the printed
// dictionaries of Python and Ruby, several documents in a row as Elasticsearch's bulk requests have, with a collection
// and a method in front or not. Keys, operators, brackets and method names stay. A quoted text is a key when a colon or
// arrow follows; every other quoted text, number and bare word inside brackets is a value. It needs one pass and keeps
// no state but the depth, so it takes anything, whole or cut off.
func obfuscateJSON(s, placeholder string) (string, int) {
	var out strings.Builder
	out.Grow(len(s))
	values, depth := 0, 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\'' || c == '`':
			end := quotedEnd(s, i)
			text := s[i:end]
			known := len(text) >= 2 && text[1:len(text)-1] == placeholder
			if known || isKey(s, end) && len(text) <= maxJSONKey {
				out.WriteString(text)
			} else {
				out.WriteByte(c)
				out.WriteString(placeholder)
				out.WriteByte(c)
				values++
			}
			i = end
		case c == '{' || c == '[' || c == '(':
			depth++
			out.WriteByte(c)
			i++
		case c == '}' || c == ']' || c == ')':
			depth--
			out.WriteByte(c)
			i++
		case bareJSON.has(c):
			end := i
			for end < len(s) && bareJSON.has(s[end]) {
				end++
			}
			text := s[i:end]
			if bareStays(s, text, i, end, depth, placeholder) {
				out.WriteString(text)
			} else {
				out.WriteString(placeholder)
				values++
			}
			i = end
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.String(), values
}

// maxJSONKey is the length of a quoted text up to which it is taken for a key.
const maxJSONKey = 256

var bareJSON = unionOf(wordSet, setOf("+.$?/@%*#!\\~^&|;"), setOf("-"), nonASCII)

// quotedEnd returns the offset behind the quoted text at s[i:], or the end of s.
func quotedEnd(s string, i int) int {
	quote := s[i]
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case quote:
			return j + 1
		}
	}
	return len(s)
}

// isKey reports whether a colon or an arrow follows.
func isKey(s string, i int) bool {
	for i < len(s) && whiteSpace.has(s[i]) {
		i++
	}
	return i < len(s) && (s[i] == ':' || s[i] == '=' && i+1 < len(s) && s[i+1] == '>')
}

// bareStays decides on a word without quotes: keys, the names of methods and constructors, the words in front of the
// first bracket (collection and command), and the constants.
func bareStays(s, text string, start, end, depth int, placeholder string) bool {
	if text == placeholder || isKey(s, end) && !digitSet.has(text[0]) {
		return true
	}
	if end < len(s) && s[end] == '(' {
		return allIn(text, &methodSet)
	}
	switch text {
	case "true", "false", "null", "None", "nil", "True", "False", "undefined", "new", "/", "_search", "_bulk":
		return true
	}
	if start > 0 && (s[start-1] == ':' || s[start-1] == '=') {
		return false // A field of a query string: name:Alice, q=Alice.
	}
	return depth <= 0 && allIn(text, &methodSet) && start < maxJSONKey && !digitSet.has(text[0])
}

var methodSet = unionOf(alphaSet, setOf("_.$"))
