package pii

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	sqllexer "github.com/DataDog/go-sqllexer"
)

// statementKeys are the attributes that hold database statements: of the current conventions, of those before, and of
// OpenTracing.
var statementKeys = []string{"db.query.text", "db.statement", "db.sql.query", "sql.query", "db.query", "db.operation.batch.text"}

// parameterKeys are the attributes that hold the values for a statement's placeholders.
var parameterKeys = newKeyMatcher([]string{"db.query.parameter*", "db.operation.parameter.*", "db.statement.parameter*", "db.query.args", "db.sql.args"})

func armStatements(b *builder, r *rule) {
	b.rules.statements = r
	keys := statementKeys
	if len(b.config.Keys) > 0 {
		keys = b.config.Keys
	}
	// r.keys does not restrict the rule here but says what it is for; the rule has no triggers.
	r.keys = nil
	r.needsText = false
	b.rules.statementKeys = newKeyMatcher(append(append([]string(nil), keys...), b.config.ExtraKeys...))
	if r.hashMode == "" {
		r.hashMode = "query"
	}
}

// dialect is a family of statement languages.
type dialect uint8

const (
	dialectUnknown dialect = iota
	dialectSQL
	dialectJSON
	dialectCommand // Redis, Memcached: a command and words
)

// dialects by the values of db.system.name and db.system.
var dialects = map[string]dialect{
	"redis": dialectCommand, "valkey": dialectCommand, "keydb": dialectCommand, "dragonfly": dialectCommand,
	"memcached": dialectCommand,
	"mongodb":   dialectJSON, "elasticsearch": dialectJSON, "opensearch": dialectJSON, "couchdb": dialectJSON,
	"documentdb": dialectJSON, "aws.documentdb": dialectJSON, "solr": dialectJSON,
}

// sqlDialects are the systems of which the lexer knows peculiarities.
var sqlDialects = map[string]sqllexer.DBMSType{
	"postgresql": sqllexer.DBMSPostgres, "cockroachdb": sqllexer.DBMSPostgres, "aws.redshift": sqllexer.DBMSPostgres,
	"redshift": sqllexer.DBMSPostgres, "sqlite": sqllexer.DBMSPostgres, "trino": sqllexer.DBMSPostgres,
	"mysql": sqllexer.DBMSMySQL, "mariadb": sqllexer.DBMSMySQL, "microsoft.sql_server": sqllexer.DBMSSQLServer,
	"mssql": sqllexer.DBMSSQLServer, "oracle.db": sqllexer.DBMSOracle, "oracle": sqllexer.DBMSOracle,
	"db2": sqllexer.DBMSDB2, "ibm.db2": sqllexer.DBMSDB2, "snowflake": sqllexer.DBMSSnowflake, "hsqldb": sqllexer.DBMSPostgres,
	"h2database": sqllexer.DBMSPostgres, "derby": sqllexer.DBMSDB2,
}

// StatementSystemKeys are the attributes that name the database system, in the order in which they are asked.
var StatementSystemKeys = []string{"db.system.name", "db.system", "db.type"}

// Statement judges the value of an attribute for which Key.Statement holds: literals are replaced, then what is left is
// judged like any text. system is the value of one of StatementSystemKeys, or empty. When the text was changed,
// Scanner.QueryHash has the hash to store beside it.
func (sc *Scanner) Statement(place Place, k *Key, system, s string) (string, Verdict) {
	r := sc.rules
	sc.hits, sc.QueryHash = sc.hits[:0], ""
	active := r.places[place] & k.allowed
	if active&r.statements.bit == 0 || s == "" {
		return sc.Value(place, k, s)
	}
	system = strings.ToLower(system)
	kind := "sql"
	if system != "" {
		kind = system
	}
	if res := r.results.get(s, kind, active); res != nil {
		sc.hits, sc.QueryHash = append(sc.hits, res.hits...), res.hash
		return res.text, res.verdict
	}
	text, verdict := sc.settleStatement(system, active, s)
	r.results.put(result{in: s, kind: kind, active: active, text: text, verdict: verdict, hits: sc.hits, hash: sc.QueryHash})
	return text, verdict
}

// settleStatement rewrites a statement until nothing more is found: replacements can read differently in another dialect
// or beside other text. Hits are those of the first pass.
func (sc *Scanner) settleStatement(system string, active uint64, s string) (string, Verdict) {
	text, verdict := s, Keep
	var hits []Hit
	hash := ""
	for pass := range maxPasses {
		next, v := sc.statement(dialectOf(system, text), sqlDialects[system], active, text)
		if pass == 0 {
			hits = slices.Clone(sc.hits)
		}
		// The keyed hash is that of the original, the other one that of what is left at the end.
		if sc.QueryHash != "" && (hash == "" || sc.rules.statements.hashMode == "query") {
			hash = sc.QueryHash
		}
		if sc.QueryHash = ""; v == Keep {
			break
		}
		text, verdict = next, max(verdict, v)
	}
	sc.hits, sc.QueryHash = append(sc.hits[:0], hits...), hash
	return text, verdict
}

func (sc *Scanner) statement(d dialect, dbms sqllexer.DBMSType, active uint64, s string) (string, Verdict) {
	st := sc.rules.statements
	if sc.rules.treated(s) {
		return s, Keep
	}
	text, literals := obfuscate(d, dbms, s, st.action == ActionRedact, st.replacement)
	sc.Examined += int64(len(s))
	verdict := Keep
	var own []Hit
	if literals > 0 {
		own = append(own, Hit{Rule: st.index(), Count: literals, Shape: dialectNames[d]})
		switch st.action {
		case ActionDrop:
			verdict = Drop
		case ActionDropSpan:
			verdict = DropSpan
		case ActionHash:
			text, verdict = hashPrefix+sc.rules.hmac(s), Replace
		default:
			verdict = Replace
		}
		if verdict == Replace && st.action != ActionHash {
			sc.QueryHash = sc.rules.queryHash(st, s, text)
		}
	}
	rest, v := sc.apply(text, active&^st.bit)
	sc.hits = append(sc.hits, own...)
	return rest, max(verdict, v)
}

var dialectNames = [...]string{"statement", "sql", "json", "command"}

// queryHash is the value of db.query.hash, or empty.
func (r *Rules) queryHash(st *rule, original, obfuscated string) string {
	switch st.hashMode {
	case "statement":
		return hashPrefix + r.hmac(original)
	case "query":
		sum := sha256.Sum256([]byte(obfuscated))
		return hex.EncodeToString(sum[:hashBytes])
	}
	return ""
}

// dialectOf goes by the system, and by the looks where that is unknown.
func dialectOf(system, s string) dialect {
	if d, ok := dialects[system]; ok {
		return d
	}
	if sqlDialects[system] != "" {
		return dialectSQL
	}
	if t := strings.TrimLeft(s, " \t\r\n"); t != "" && (t[0] == '{' || t[0] == '[') {
		return dialectJSON
	}
	if system == "" && commandLike(s) {
		return dialectCommand
	}
	return dialectUnknown
}

// commandWords are commands of Redis that begin no statement of SQL; SET is one when there is no equals sign.
var commandWords = map[string]bool{
	"GET": true, "MGET": true, "MSET": true, "SETEX": true, "PSETEX": true, "SETNX": true, "GETSET": true, "GETEX": true, "GETDEL": true,
	"DEL": true, "UNLINK": true, "EXISTS": true, "EXPIRE": true, "PEXPIRE": true, "TTL": true, "INCR": true, "INCRBY": true, "DECR": true,
	"APPEND": true, "HGET": true, "HSET": true, "HMGET": true, "HMSET": true, "HGETALL": true, "HDEL": true, "HINCRBY": true, "HEXISTS": true,
	"LPUSH": true, "RPUSH": true, "LPOP": true, "RPOP": true, "LRANGE": true, "BLPOP": true, "BRPOP": true, "SADD": true, "SREM": true,
	"SMEMBERS": true, "SISMEMBER": true, "ZADD": true, "ZREM": true, "ZRANGE": true, "ZRANGEBYSCORE": true, "ZSCORE": true, "PUBLISH": true,
	"SUBSCRIBE": true, "XADD": true, "XREAD": true, "XREADGROUP": true, "XACK": true, "EVALSHA": true, "EVAL": true, "AUTH": true, "HELLO": true,
}

func commandLike(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n")
	if s == "" {
		return false
	}
	w := firstWord(s)
	if len(w) > 16 {
		return false
	}
	w = strings.ToUpper(w)
	return commandWords[w] || w == "SET" && !strings.Contains(s, "=")
}

// obfuscate replaces the literals of a statement and counts them. Statements of unknown systems are read as SQL with
// the reading of quotes that takes more for a literal.
func obfuscate(d dialect, dbms sqllexer.DBMSType, s string, fixed bool, placeholder string) (string, int) {
	if !fixed {
		placeholder = "?"
	}
	switch d {
	case dialectJSON:
		return obfuscateJSON(s, placeholder)
	case dialectCommand:
		return obfuscateCommand(s, placeholder)
	}
	if plainSQL(s) {
		return s, 0
	}
	if (dbms == "" || dbms == sqllexer.DBMSOracle) && alternativeQuote(s) {
		return placeholder, 1 // The lexer does not know where these end.
	}
	if dbms == "" {
		// Whether a backslash escapes a quote differs between systems, and a wrong guess takes text for literals and
		// literals for text.
		if strings.Contains(s, `\'`) || strings.Contains(s, `\"`) {
			return placeholder, 1
		}
		dbms = sqllexer.DBMSMySQL
	}
	return obfuscateSQL(s, dbms, placeholder)
}

// alternativeQuote reports whether a statement holds a literal of Oracle's with a delimiter of its own: q'[it's]'.
func alternativeQuote(s string) bool {
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' || s[i-1]|0x20 != 'q' {
			continue
		}
		before := i - 2
		if before >= 0 && s[before]|0x20 == 'n' {
			before--
		}
		if before < 0 || !wordSet.has(s[before]) && s[before] != '\'' {
			return true
		}
	}
	return false
}

// plainSQL reports whether a statement can hold no literal: no quotes, no comments, and no digits but in names and
// placeholders. Statements with placeholders are the rule, and this spares them the lexer.
func plainSQL(s string) bool {
	prev := byte(' ')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\'' || c == '"' || c == '`' || c == '#' || c == '[' || c == '\\' || c >= 0x80:
			return false
		case (c == '-' || c == '*') && (prev == '-' || prev == '/'):
			return false
		case c >= '0' && c <= '9' && !wordSet.has(prev) && prev != '$' && prev != ':' && prev != '@':
			return false
		case c == '$' && i+1 < len(s) && !digitSet.has(s[i+1]):
			return false
		}
		prev = c
	}
	return true
}

// obfuscateSQL writes a statement without its literals and comments.
func obfuscateSQL(s string, dbms sqllexer.DBMSType, placeholder string) (string, int) {
	var out strings.Builder
	out.Grow(len(s))
	literals := 0
	lexer := sqllexer.New(s, sqllexer.WithDBMS(dbms))
	literal := func() {
		out.WriteString(placeholder)
		literals++
	}
	for {
		t := lexer.Scan()
		if t.Type == sqllexer.EOF {
			break
		}
		switch t.Type {
		case sqllexer.STRING, sqllexer.INCOMPLETE_STRING, sqllexer.NUMBER, sqllexer.DOLLAR_QUOTED_STRING,
			sqllexer.DOLLAR_QUOTED_FUNCTION, sqllexer.ERROR:
			// An error is a quoted name or comment without an end: nobody knows what is in it.
			if t.Value != placeholder {
				literal()
			}
		case sqllexer.COMMENT, sqllexer.MULTILINE_COMMENT:
			if t.Value == sqlComment {
				out.WriteString(sqlComment)
				continue
			}
			out.WriteString(sqlComment)
			literals++
		case sqllexer.QUOTED_IDENT:
			if simpleName(t.Value) {
				out.WriteString(t.Value)
			} else {
				literal()
			}
		default:
			out.WriteString(t.Value)
		}
	}
	return out.String(), literals
}

// sqlComment takes the place of comments: they carry whatever a program has put there.
const sqlComment = "/* ? */"

// simpleName reports whether a quoted name looks like the name of a table or column and not like a text that a client
// has quoted in the wrong way.
func simpleName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !wordSet.has(c) && strings.IndexByte("\"`[].$ -", c) < 0 && c < 0x80 {
			return false
		}
	}
	return len(s) <= 130
}
