package liveconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Hidden stands in the place of a secret, as the Collector's configopaque has it.
const Hidden = "[REDACTED]"

var (
	secretKey = regexp.MustCompile(`(?i)(^|[_.-])(password|passwd|secret|token|api[_-]?key|authorization|credentials?|cookie|private[_-]?key|hash[_-]?key)$`)
	userInfo  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]+@`)
)

// Redact returns a copy of a configuration without what looks like a secret: values of keys with such a name and user
// information of URLs. What components mark as secret by type is hidden already when the map is made. Values get the
// types that they have after JSON, with durations as text and numbers as json.Number, so that copies that have crossed a
// process border compare equal.
func Redact(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out, _ := redact("", reflect.ValueOf(m)).(map[string]any)
	return out
}

func redact(key string, v reflect.Value) any {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			k := fmt.Sprint(it.Key())
			out[k] = redact(k, it.Value())
		}
		return out
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = redact(key, v.Index(i))
		}
		return out
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return redactText(key, v.String(), v.Type() == reflect.TypeFor[json.Number]())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return fmt.Sprint(v) // Infinity, NaN.
		}
		return json.Number(b)
	}
	return fmt.Sprint(v)
}

func redactText(key, s string, number bool) any {
	switch {
	case secretKey.MatchString(key) && s != "":
		return Hidden
	case number:
		return json.Number(s)
	}
	return userInfo.ReplaceAllString(s, "${1}"+Hidden+"@")
}

// Change is one difference between two configurations.
type Change struct {
	// Path is the path of the field, with :: between keys, as the Collector writes it.
	Path string `json:"path"`
	// Old and New are the values; nil if the field is not there.
	Old any `json:"old,omitempty"`
	New any `json:"new,omitempty"`
}

func (c Change) String() string {
	switch {
	case c.Old == nil:
		return fmt.Sprintf("+ %s: %s", c.Path, short(c.New))
	case c.New == nil:
		return fmt.Sprintf("- %s: %s", c.Path, short(c.Old))
	}
	return fmt.Sprintf("~ %s: %s -> %s", c.Path, short(c.Old), short(c.New))
}

// short is a value on one line of bounded length.
func short(v any) string {
	s := strings.Join(strings.Fields(fmt.Sprintf("%v", v)), " ")
	const most = 120
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// Diff lists how two configurations that Redact has made differ, in order of their paths. A component that is only in one of them is one
// change.
func Diff(before, after map[string]any) []Change {
	var out []Change
	diff("", before, after, &out)
	return out
}

func diff(path string, before, after map[string]any, out *[]Change) {
	keys := maps.Clone(before)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, after)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		p := k
		if path != "" {
			p = path + "::" + k
		}
		o, inOld := before[k]
		n, inNew := after[k]
		om, oldMap := o.(map[string]any)
		nm, newMap := n.(map[string]any)
		switch {
		case oldMap && newMap:
			diff(p, om, nm, out)
		case inOld && !inNew:
			*out = append(*out, Change{Path: p, Old: orEmpty(o)})
		case !inOld && inNew:
			*out = append(*out, Change{Path: p, New: orEmpty(n)})
		case !equal(o, n):
			*out = append(*out, Change{Path: p, Old: orEmpty(o), New: orEmpty(n)})
		}
	}
}

// orEmpty tells a field without a value from one that is not there.
func orEmpty(v any) any {
	if v == nil {
		return "(empty)"
	}
	return v
}

// equal compares values; lists are compared as a whole.
func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// DecodeJSON reads JSON with numbers as json.Number, so that what Redact made comes back as it was.
func DecodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}
