package spanid

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// TraceID is the 16-byte identifier of a trace, in network byte order.
type TraceID [16]byte

// SpanID is the 8-byte identifier of a span within its trace, in network byte order.
type SpanID [8]byte

// IsZero reports whether the id is the invalid all-zero id.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// IsZero reports whether the id is the all-zero id; as a parent id it marks a root span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// String returns 32 lower-case hex digits, the form every client accepts (C-21).
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// Short returns lower-case hex without leading zeros, the value of the TraceQL intrinsic trace:id (C-24).
// The zero id is the empty string.
func (t TraceID) Short() string {
	s := t.String()
	for i := range len(s) {
		if s[i] != '0' {
			return s[i:]
		}
	}
	return ""
}

// String returns 16 lower-case hex digits (C-22).
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// Hash is a 64-bit hash that spreads ids evenly also when a client fills only one half of them.
func (t TraceID) Hash() uint64 {
	return mix(binary.BigEndian.Uint64(t[:8]) ^ mix(binary.BigEndian.Uint64(t[8:])))
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// ParseTraceID reads a trace id as it stands in a request path: 1 to 32 hex digits of any case, odd lengths
// allowed, padded on the left with zeros (C-20). The error names the offending character and its position.
func ParseTraceID(s string) (TraceID, error) {
	var id TraceID
	err := parseHex(id[:], s, "trace id")
	return id, err
}

// ParseSpanID reads a span id: 1 to 16 hex digits, padded on the left like a trace id.
func ParseSpanID(s string) (SpanID, error) {
	var id SpanID
	err := parseHex(id[:], s, "span id")
	return id, err
}

// parseHex fills dst from the right with the hex digits of s. On error dst is unspecified.
func parseHex(dst []byte, s, what string) error {
	if s == "" {
		return fmt.Errorf("%s is empty: want 1 to %d hex digits", what, 2*len(dst))
	}
	for i, r := range s {
		if r > 0x7f || nibble(byte(r)) > 15 {
			return fmt.Errorf("%s has a character that is not a hex digit: %q at position %d", what, r, i+1)
		}
	}
	if len(s) > 2*len(dst) {
		return fmt.Errorf("%s is too long: %d hex digits, at most %d", what, len(s), 2*len(dst))
	}
	clear(dst)
	pos := 2*len(dst) - len(s)
	for i := range len(s) {
		dst[(pos+i)/2] |= nibble(s[i]) << (4 * (1 - (pos+i)%2))
	}
	return nil
}

// nibble returns the value of a hex digit, or 255.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
