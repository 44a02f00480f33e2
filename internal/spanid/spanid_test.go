package spanid

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestParseTraceID(t *testing.T) { // C-20
	for _, tc := range []struct{ in, want, err string }{
		{in: "1", want: "00000000000000000000000000000001"},
		{in: "abc", want: "00000000000000000000000000000abc"},
		{in: "ABCDEF", want: "00000000000000000000000000abcdef"},
		{in: "0102030405060708090a0b0c0d0e0f10", want: "0102030405060708090a0b0c0d0e0f10"},
		{in: strings.Repeat("0", 32), want: strings.Repeat("0", 32)},
		{in: "", err: "empty"},
		{in: strings.Repeat("a", 33), err: "too long: 33 hex digits, at most 32"},
		{in: "12g4", err: `'g' at position 3`},
		{in: "12é4", err: `'é' at position 3`},
		{in: "-1", err: `'-' at position 1`},
	} {
		got, err := ParseTraceID(tc.in)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("ParseTraceID(%q): error %v, want one containing %q", tc.in, err, tc.err)
			}
			continue
		}
		if err != nil || got.String() != tc.want {
			t.Errorf("ParseTraceID(%q) = %s, %v, want %s", tc.in, got, err, tc.want)
		}
	}
}

func TestTextForms(t *testing.T) {
	id, _ := ParseTraceID("2f3e")
	if id.Short() != "2f3e" { // C-24
		t.Errorf("Short() = %q", id.Short())
	}
	if (TraceID{}).Short() != "" || !(TraceID{}).IsZero() || id.IsZero() {
		t.Error("zero trace id")
	}
	sid, err := ParseSpanID("a1")
	if err != nil || sid.String() != "00000000000000a1" { // C-22
		t.Errorf("span id %s, %v", sid, err)
	}
}

func TestHashSpreads(t *testing.T) {
	var buckets [16]int
	for i := range 16000 {
		id := TraceID{15: byte(i), 14: byte(i >> 8)}
		buckets[id.Hash()>>60]++
	}
	for b, n := range buckets {
		if n < 800 || n > 1200 {
			t.Errorf("bucket %d holds %d of 16000 sequential ids", b, n)
		}
	}
}

func FuzzParseTraceID(f *testing.F) {
	f.Add("0102030405060708090a0b0c0d0e0f10")
	f.Add("abc")
	f.Add("é")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseTraceID(s)
		if err != nil {
			return
		}
		padded := strings.Repeat("0", 32-len(s)) + strings.ToLower(s)
		want, herr := hex.DecodeString(padded)
		if herr != nil || string(want) != string(id[:]) {
			t.Fatalf("ParseTraceID(%q) = %x, want %x (%v)", s, id, want, herr)
		}
	})
}
