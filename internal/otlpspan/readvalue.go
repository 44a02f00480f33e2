package otlpspan

import (
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// attr reads a KeyValue inside depth arrays and maps and appends it.
func (r *reader) attr(pos, end int, dst []store.Attr, depth int) ([]store.Attr, error) {
	dst = append(dst, store.Attr{Value: store.Empty()})
	a := &dst[len(dst)-1]
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return nil, err
		}
		pos = next
		switch f.tag {
		case tagKVKey:
			a.Key = r.str[f.lo:f.hi]
		case tagKVValue:
			err = r.value(f.lo, f.hi, &a.Value, depth)
		case tagKVStrindex: // For profiles only.
		default:
			err = f.unknown("KeyValue", 3)
		}
		if err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// value reads an AnyValue into v, which the caller set to empty; the last case given wins.
func (r *reader) value(pos, end int, v *store.Value, depth int) error {
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		switch f.tag {
		case tagAnyString:
			*v = store.String(r.str[f.lo:f.hi])
		case tagAnyBool:
			*v = store.Bool(f.num != 0)
		case tagAnyInt:
			*v = store.Int(int64(f.num)) //nolint:gosec // Two's complement.
		case tagAnyDouble:
			*v = store.Float(math.Float64frombits(f.num))
		case tagAnyBytes:
			*v = store.Bytes(r.str[f.lo:f.hi])
		case tagAnyArray:
			err = r.array(f.lo, f.hi, v, depth+1)
		case tagAnyKvlist:
			err = r.kvlist(f.lo, f.hi, v, depth+1)
		case tagAnyStrindex: // For profiles only; "treat as unset" elsewhere.
			*v = store.Empty()
		default:
			err = f.unknown("AnyValue", 8)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) array(pos, end int, v *store.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep()
	}
	var elems []store.Value
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		if f.tag != tagListValues {
			if err := f.unknown("ArrayValue", 1); err != nil {
				return err
			}
			continue
		}
		elems = append(elems, store.Empty())
		if err := r.value(f.lo, f.hi, &elems[len(elems)-1], depth); err != nil {
			return err
		}
	}
	*v = store.Array(elems...)
	return nil
}

func (r *reader) kvlist(pos, end int, v *store.Value, depth int) error {
	if depth > store.MaxDepth {
		return errTooDeep()
	}
	var attrs []store.Attr
	for pos < end {
		f, next, err := r.next(pos, end)
		if err != nil {
			return err
		}
		pos = next
		if f.tag != tagListValues {
			if err := f.unknown("KeyValueList", 1); err != nil {
				return err
			}
			continue
		}
		if attrs, err = r.attr(f.lo, f.hi, attrs, depth); err != nil {
			return err
		}
	}
	*v = store.Map(attrs...)
	return nil
}
