package pii

import "strings"

// subcommands are the commands of Redis whose first word tells the command on.
var subcommands = map[string]bool{
	"ACL": true, "CLIENT": true, "CLUSTER": true, "COMMAND": true, "CONFIG": true, "DEBUG": true, "FUNCTION": true,
	"LATENCY": true, "MEMORY": true, "MODULE": true, "OBJECT": true, "PUBSUB": true, "SCRIPT": true, "SLOWLOG": true,
	"XGROUP": true, "XINFO": true, "SENTINEL": true,
}

// obfuscateCommand keeps the commands of Redis, Valkey and Memcached and replaces all their words, keys included: keys
// are built from user names and session ids. Each line is a command of its own (pipelines).
func obfuscateCommand(s, placeholder string) (string, int) {
	var out strings.Builder
	out.Grow(len(s))
	words := 0
	for first := true; len(s) > 0; first = false {
		line, rest, found := cutLine(s)
		words += commandLine(&out, line, placeholder, first)
		if found {
			out.WriteByte('\n')
		}
		s = rest
	}
	return out.String(), words
}

// cutLine cuts at a line break outside of quotes.
func cutLine(s string) (line, rest string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"', '\'':
			i = quotedEnd(s, i) - 1
		case '\n':
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// commandLine writes one line. What begins a later line is only a command if it is a known one: Memcached's values stand
// in lines of their own.
func commandLine(out *strings.Builder, line, placeholder string, first bool) (replaced int) {
	command := ""
	for n := 0; line != ""; {
		i := 0
		for i < len(line) && whiteSpace.has(line[i]) {
			i++
		}
		out.WriteString(line[:i])
		line = line[i:]
		if line == "" {
			break
		}
		word := firstWord(line)
		line = line[len(word):]
		switch {
		case word == placeholder:
			out.WriteString(word)
		case n == 0 && commandName(word) && (first || knownCommand(word)):
			command = strings.ToUpper(word)
			out.WriteString(word)
		case n == 1 && subcommands[command] && commandName(word):
			out.WriteString(word)
		default:
			out.WriteString(placeholder)
			replaced++
		}
		n++
	}
	return replaced
}

// knownCommand reports whether a word is a command of Redis that is in use.
func knownCommand(w string) bool {
	w = strings.ToUpper(w)
	return commandWords[w] || subcommands[w] || moreCommands[w]
}

// moreCommands are those commands that, unlike commandWords, cannot tell a statement without a system from SQL.
var moreCommands = map[string]bool{
	"SET": true, "MULTI": true, "EXEC": true, "DISCARD": true, "WATCH": true, "UNWATCH": true, "SELECT": true, "PING": true, "SCAN": true,
	"HSCAN": true, "SSCAN": true, "ZSCAN": true, "KEYS": true, "TYPE": true, "RENAME": true, "PERSIST": true, "LLEN": true, "LREM": true,
	"LINDEX": true, "SCARD": true, "SPOP": true, "ZCARD": true, "ZCOUNT": true, "ZINCRBY": true, "ZRANK": true, "ZREMRANGEBYSCORE": true,
	"HKEYS": true, "HVALS": true, "HLEN": true, "HSETNX": true, "MSETNX": true, "STRLEN": true, "SETRANGE": true, "GETRANGE": true, "ECHO": true,
	"XDEL": true, "XLEN": true, "XRANGE": true, "XTRIM": true, "PFADD": true, "PFCOUNT": true, "GEOADD": true, "SETBIT": true, "GETBIT": true,
	"EXPIREAT": true, "PEXPIREAT": true, "PTTL": true, "DBSIZE": true, "FLUSHDB": true, "FLUSHALL": true, "INFO": true, "WAIT": true, "QUIT": true,
}

func firstWord(s string) string {
	if s[0] == '"' || s[0] == '\'' {
		return s[:quotedEnd(s, 0)]
	}
	for i := 0; i < len(s); i++ {
		if whiteSpace.has(s[i]) {
			return s[:i]
		}
	}
	return s
}

// commandName reports whether a word can be a command: letters, and the dots and dashes of modules.
func commandName(w string) bool {
	for i := 0; i < len(w); i++ {
		if c := w[i]; !alphaSet.has(c) && c != '.' && c != '_' && c != '-' && c != ':' {
			return i > 1 && digitSet.has(c) && len(w) <= 24
		}
	}
	return len(w) <= 24
}
