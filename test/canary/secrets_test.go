package canary

import (
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"strings"
)

// secret is a text that must not be stored, and the parts of it that are searched for: what is random in it.
type secret struct {
	text  string
	parts []string
}

const (
	lower    = "abcdefghijkmnpqrstuvwxyz23456789"
	alnum    = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
	base32   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	hexadec  = "0123456789abcdef"
	decimals = "0123456789"
)

func random(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// around is a secret with fixed text around a random part.
func around(before, part, after string) secret {
	return secret{before + part + after, []string{part}}
}

// kinds are the secrets that are secrets in whatever text they stand, one kind or more for each rule that is on by
// default.
var kinds = []struct {
	name string
	make func(r *rand.Rand) secret
}{
	{"email", func(r *rand.Rand) secret { return around("mail ", random(r, lower, 14), "@example.com") }},
	{"bearer", func(r *rand.Rand) secret { return around("auth was Bearer ", random(r, alnum, 40), "") }},
	{"basic", func(r *rand.Rand) secret {
		return around("Basic ", base64.StdEncoding.EncodeToString([]byte("user:"+random(r, alnum, 24))), "")
	}},
	{"jwt", func(r *rand.Rand) secret {
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		payload := part(`{"sub":"` + random(r, alnum, 20) + `"}`)
		sig := random(r, alnum, 43)
		// The header and the beginning of the payload are the same in all of them.
		return secret{part(`{"alg":"HS256","typ":"JWT"}`) + "." + payload + "." + sig, []string{payload[12 : len(payload)-4], sig}}
	}},
	{"private key", func(r *rand.Rand) secret {
		s := secret{text: "-----BEGIN " + "PRIVATE KEY-----\n"}
		for range 3 {
			line := random(r, alnum, 64)
			s.text += line + "\n"
			s.parts = append(s.parts, line)
		}
		s.text += "-----END " + "PRIVATE KEY-----"
		return s
	}},
	{"aws", func(r *rand.Rand) secret { return around("key AK"+"IA", random(r, base32, 16), " used") }},
	{"github", func(r *rand.Rand) secret { return around("gh"+"p_", random(r, alnum, 36), "") }},
	{"slack", func(r *rand.Rand) secret {
		return around("xo"+"xb-123456789012-123456789012-", random(r, alnum, 24), "")
	}},
	{"stripe", func(r *rand.Rand) secret { return around("sk_"+"live_", random(r, alnum, 24), "") }},
	{"google", func(r *rand.Rand) secret { return around("AI"+"za", random(r, alnum, 35), "") }},
	{"card", func(r *rand.Rand) secret { n := card(r); return secret{"paid with " + n, []string{n}} }},
	{"grouped card", func(r *rand.Rand) secret {
		n := card(r)
		n = n[:4] + " " + n[4:8] + " " + n[8:12] + " " + n[12:]
		return secret{"paid with " + n + " today", []string{n}}
	}},
	{"user info", func(r *rand.Rand) secret {
		return around("dial postgres://app:", random(r, alnum, 20), "@db.example.com:5432/shop")
	}},
	{"query", func(r *rand.Rand) secret {
		return around("https://shop.example.com/p?session=", random(r, alnum, 20), "&page=2")
	}},
	{"assignment", func(r *rand.Rand) secret { return around("host=db password=", random(r, alnum, 20), " sslmode=off") }},
	{"json", func(r *rand.Rand) secret { return around(`{"api_key":"`, random(r, hexadec, 32), `"}`) }},
}

// card is a number of a card that nobody has, with the right check digit.
func card(r *rand.Rand) string {
	n := "4" + random(r, decimals, 14)
	sum := 0
	for i, c := range []byte(n) {
		d := int(c - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return n + strconv.Itoa((10-sum%10)%10)
}

// sensitive are attribute keys whose whole value is a secret, whatever it looks like.
var sensitive = []string{
	"http.request.header.authorization", "HTTP.Request.Header.Cookie", "http.response.header.set-cookie", "x-api-key", "db.password",
	"client_secret", "aws.secret_access_key", "session_token",
}

// statements are texts in attributes that hold statements of databases, around a literal.
var statements = []struct{ system, key, before, after string }{
	{"postgresql", "db.query.text", "SELECT * FROM users WHERE name = '", "' AND id = 7"},
	{"mysql", "db.statement", "INSERT INTO t (a) VALUES ('", "')"},
	{"mssql", "db.query.text", "EXEC p @a = N'", "'"},
	{"redis", "db.statement", "SET user:1 ", ""},
	{"mongodb", "db.query.text", `{"find":"users","filter":{"name":"`, `"}}`},
	{"elasticsearch", "db.query.text", `{"query":{"match":{"name":"`, `"}}}`},
	{"", "db.query.parameter.0", "", ""},
}

// inTraceState makes a text the value of one member of tracestate.
func inTraceState(s string) string { return strings.ReplaceAll(s, ",", ";") }
