package mcpapi

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
)

// plainAttrs are attributes as an object. Of a key that occurs twice the first counts.
func plainAttrs(attrs []store.Attr) (map[string]any, error) { return plainMap(attrs, 0) }

func plainMap(attrs []store.Attr, depth int) (map[string]any, error) {
	if len(attrs) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(attrs))
	for i := range attrs {
		key := text(attrs[i].Key)
		if _, seen := out[key]; seen {
			continue
		}
		v, err := plain(attrs[i].Value, depth)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", key, err)
		}
		out[key] = v
	}
	return out, nil
}

// plain is a value as people would write it in JSON. Numbers that JSON does not know are text, and bytes base64.
func plain(v store.Value, depth int) (any, error) {
	if depth > store.MaxDepth {
		return nil, fmt.Errorf("value is nested deeper than %d", store.MaxDepth)
	}
	switch v.Type {
	case store.TypeString:
		return text(v.Str), nil
	case store.TypeInt:
		return v.Int(), nil
	case store.TypeFloat:
		return number(v.Float()), nil
	case store.TypeBool:
		return v.Bool(), nil
	case store.TypeBytes:
		return text(base64.StdEncoding.EncodeToString([]byte(v.Str))), nil
	case store.TypeArray:
		elems, err := v.Elems()
		if err != nil {
			return nil, err
		}
		out := make([]any, len(elems))
		for i, e := range elems {
			if out[i], err = plain(e, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case store.TypeMap:
		attrs, err := v.Attrs()
		if err != nil {
			return nil, err
		}
		m, err := plainMap(attrs, depth+1)
		if m == nil {
			m = map[string]any{}
		}
		return m, err
	case store.TypeAbsent, store.TypeEmpty:
	}
	return nil, nil
}

// number is f, or its name if it has no form in JSON.
func number(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return f
}

// timeText is a time in RFC 3339 with what it has of fractions.
func timeText(nano uint64) string {
	return time.Unix(int64(nano/1e9), int64(nano%1e9)).UTC().Format(time.RFC3339Nano)
}

func millis(nano uint64) float64 { return float64(nano) / 1e6 }
