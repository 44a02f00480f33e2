package pii

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	stars      = "****"
	hashPrefix = "hmac:"
	hashBytes  = 16 // of the HMAC that are kept: enough that two values never share one
)

func (r *rule) index() int { return bits.TrailingZeros64(r.bit) }

// appendReplacement appends what stands for a finding. Where the attribute or span is dropped, that is the fixed
// text too: it serves where nothing can be dropped.
func (r *Rules) appendReplacement(dst []byte, rl *rule, value string) []byte {
	switch rl.action {
	case ActionMask:
		dst = append(dst, stars...)
		// A short value would be as good as told by its end.
		if n := rl.keepLast; n > 0 && len(value) >= 2*n {
			cut := len(value) - n
			for cut < len(value) && !utf8.RuneStart(value[cut]) {
				cut++
			}
			dst = append(dst, value[cut:]...)
		}
		return dst
	case ActionHash:
		return append(append(dst, hashPrefix...), r.hmac(value)...)
	default:
		return append(dst, rl.replacement...)
	}
}

// hmac returns the first bytes of the keyed hash of a value, as hex.
func (r *Rules) hmac(value string) string {
	mac := hmac.New(sha256.New, r.hashKey)
	mac.Write([]byte(value))
	return hex.EncodeToString(mac.Sum(nil)[:hashBytes])
}

// treated reports whether a text is what some rule writes.
func (r *Rules) treated(s string) bool {
	if r.replacements[s] {
		return true
	}
	switch {
	case strings.HasPrefix(s, stars):
		return r.maskKeep >= 0 && len(s) <= len(stars)+r.maskKeep
	case strings.HasPrefix(s, hashPrefix):
		return len(s) == len(hashPrefix)+2*hashBytes && allIn(s[len(hashPrefix):], &lowHexSet)
	}
	return false
}

// maxShape bounds the length of shapes.
const maxShape = 48

// shape describes a value without telling it: a for letters, 9 for digits, common punctuation as it is, * for
// everything else, and the number of repetitions in braces.
func shape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < maxShape; {
		c := shapeOf(s[i])
		n := 1
		for i+n < len(s) && shapeOf(s[i+n]) == c {
			n++
		}
		b.WriteByte(c)
		if n > 1 {
			b.WriteString("{" + strconv.Itoa(n) + "}")
		}
		i += n
	}
	return b.String()
}

func shapeOf(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return '9'
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return 'a'
	case strings.IndexByte("@.-:/= ", c) >= 0:
		return c
	default:
		return '*'
	}
}

func allIn(s string, set *byteSet) bool {
	for i := 0; i < len(s); i++ {
		if !set.has(s[i]) {
			return false
		}
	}
	return true
}
