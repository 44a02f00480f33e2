package piiprocessor

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// maxDepth is how deep values are walked. What is nested deeper is removed, as nobody has looked at it.
const maxDepth = 1024

// maxPath bounds the key of a nested value, which is the path to it.
const maxPath = 256

// tooDeep takes the place of values that are nested too deeply.
const tooDeep = "[REDACTED:depth]"

// edits are the changes to a map that have to wait for the end of the iteration.
type edits struct {
	remove  []int // positions, ascending
	rename  []int
	names   []string
	hash    string // for pii.QueryHashKey
	present bool   // the map has a pii.QueryHashKey
}

// attributes judges the entries of a map. parent is the key that holds the map, or nil for the attributes of a
// resource, scope, span, event or link.
func (w *walker) attributes(place pii.Place, m pcommon.Map, parent *pii.Key, depth int) {
	var e edits
	i := -1
	for name, v := range m.All() {
		i++
		key := w.sc.Key(name)
		if parent == nil && key.Protected() {
			continue
		}
		e.present = e.present || key.QueryHash()
		if key.Dirty() {
			w.keyText(place, key, i, &e)
		}
		if parent != nil {
			key = w.nestedKey(parent, key)
		}
		if t := v.Type(); t == pcommon.ValueTypeStr && key.Statement() {
			w.statement(place, key, m, v, i, &e)
		} else if w.value(place, key, v, t, depth) {
			e.remove = append(e.remove, i)
		}
	}
	if e.remove != nil || e.rename != nil || e.hash != "" {
		applyEdits(m, &e)
	}
}

// nestedKey returns the key under which a nested value is judged: its path, or the end of it where that grows long.
// Below a key that is sensitive everything is.
func (w *walker) nestedKey(parent, key *pii.Key) *pii.Key {
	switch {
	case parent.Sensitive():
		return parent
	case len(parent.Name())+len(key.Name()) >= maxPath:
		return w.sc.Key("_." + key.Name())
	}
	return w.sc.Key(parent.Name() + "." + key.Name())
}

// keyText judges the text of a key.
func (w *walker) keyText(place pii.Place, key *pii.Key, i int, e *edits) {
	name, verdict := w.sc.KeyText(place, key)
	if verdict == pii.Keep || !w.found(place, verdict) {
		return
	}
	if verdict == pii.Drop {
		e.remove = append(e.remove, i)
		return
	}
	e.rename, e.names = append(e.rename, i), append(e.names, name)
}

// statement judges a database statement.
func (w *walker) statement(place pii.Place, key *pii.Key, m pcommon.Map, v pcommon.Value, i int, e *edits) {
	in := v.Str()
	out, verdict := w.sc.Statement(place, key, system(m), in)
	if verdict == pii.Keep {
		return
	}
	w.statementIn, w.statementOut = in, out
	if !w.found(place, verdict) {
		return
	}
	if verdict == pii.Drop {
		e.remove = append(e.remove, i)
		return
	}
	if w.sc.QueryHash != "" {
		e.hash = w.sc.QueryHash
	}
	v.SetStr(out)
}

// system returns the database system that attributes name.
func system(m pcommon.Map) string {
	for _, k := range pii.StatementSystemKeys {
		if v, ok := m.Get(k); ok && v.Type() == pcommon.ValueTypeStr {
			return v.Str()
		}
	}
	return ""
}

// value judges a value and changes it. It reports whether the attribute that holds it is to be removed.
func (w *walker) value(place pii.Place, key *pii.Key, v pcommon.Value, t pcommon.ValueType, depth int) (remove bool) {
	var out string
	verdict := pii.Keep
	switch t {
	case pcommon.ValueTypeStr:
		out, verdict = w.sc.Value(place, key, v.Str())
	case pcommon.ValueTypeInt:
		out, verdict = w.sc.Number(place, key, v.Int())
	case pcommon.ValueTypeDouble:
		out, verdict = w.sc.Float(place, key, v.Double())
	case pcommon.ValueTypeBytes:
		// Bytes are scanned whether they are text or not: the detectors take anything.
		out, verdict = w.sc.Value(place, key, string(v.Bytes().AsRaw()))
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		return w.nested(place, key, v, t, depth+1)
	}
	if verdict == pii.Keep || !w.found(place, verdict) {
		return false
	}
	switch {
	case verdict == pii.Drop:
		return true
	case t == pcommon.ValueTypeBytes:
		v.SetEmptyBytes().FromRaw([]byte(out))
	default:
		v.SetStr(out)
	}
	return false
}

// nested judges the values of a map or an array.
func (w *walker) nested(place pii.Place, key *pii.Key, v pcommon.Value, t pcommon.ValueType, depth int) (remove bool) {
	if depth > maxDepth {
		w.deep++
		if w.enforce {
			v.SetStr(tooDeep)
		}
		return false
	}
	if t == pcommon.ValueTypeMap {
		w.attributes(place, v.Map(), key, depth)
		return false
	}
	list := v.Slice()
	for i := range list.Len() {
		el := list.At(i)
		if et := el.Type(); et == pcommon.ValueTypeStr && key.Statement() {
			out, verdict := w.sc.Statement(place, key, "", el.Str())
			if verdict == pii.Keep || !w.found(place, verdict) {
				continue
			}
			remove = remove || verdict == pii.Drop
			el.SetStr(out)
		} else if w.value(place, key, el, et, depth) {
			remove = true
		}
	}
	return remove
}

// applyEdits renames, removes and adds. Renamed entries move to the end; where the new name is taken, a number is added.
func applyEdits(m pcommon.Map, e *edits) {
	renamed := make([]pcommon.Value, len(e.rename))
	i, r, n := -1, 0, 0
	m.RemoveIf(func(_ string, v pcommon.Value) bool {
		i++
		gone := false
		for r < len(e.remove) && e.remove[r] <= i {
			gone = gone || e.remove[r] == i
			r++
		}
		if n < len(e.rename) && e.rename[n] == i {
			if !gone {
				renamed[n] = pcommon.NewValueEmpty()
				v.MoveTo(renamed[n])
			}
			n++
			return true
		}
		return gone
	})
	for i, v := range renamed {
		if v == (pcommon.Value{}) {
			continue
		}
		name := e.names[i]
		for k := 2; ; k++ {
			if _, taken := m.Get(name); !taken {
				break
			}
			name = fmt.Sprintf("%s_%d", e.names[i], k)
		}
		v.MoveTo(m.PutEmpty(name))
	}
	if e.hash != "" && !e.present {
		m.PutStr(pii.QueryHashKey, e.hash)
	}
}
