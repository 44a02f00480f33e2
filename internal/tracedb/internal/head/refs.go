package head

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/store"
)

// refEntry is a distinct resource or scope. It is immutable.
type refEntry struct {
	name, version string // of scopes
	attrs         []store.Attr
	dropped       uint32
	schemaURL     string
	entityRefs    string // of resources
}

// refTable holds the distinct resources or the distinct scopes of a head, numbered by appearance. Two are the same if
// all fields are, the attributes in the same order.
type refTable struct {
	m    *meter
	keys *dict // encoded entries; their codes are the numbers
	strs *dict // shared copies of the strings of all entries
	list chunks[*refEntry]
	n    atomic.Uint32 // entries of list that readers may use
	buf  []byte        // appender only
}

func (t *refTable) init(h *Head) {
	t.m = &h.meter
	t.keys, t.strs = newDict(&h.arena, h.seed), newDict(&h.arena, h.seed)
	t.list.init(&h.meter, 8)
}

func (t *refTable) resource(r *store.Resource) uint32 {
	return t.intern(&refEntry{attrs: r.Attrs, dropped: r.DroppedAttrs, schemaURL: r.SchemaURL, entityRefs: r.EntityRefs})
}

func (t *refTable) scope(s *store.Scope) uint32 {
	return t.intern(&refEntry{
		name: s.Name, version: s.Version, attrs: s.Attrs, dropped: s.DroppedAttrs, schemaURL: s.SchemaURL,
	})
}

// intern returns the number of e, of which a copy is kept if it is new.
func (t *refTable) intern(e *refEntry) uint32 {
	t.encode(e)
	code := t.keys.intern(string(t.buf))
	if int(code) < t.list.n {
		return code
	}
	c := &refEntry{
		name: t.str(e.name), version: t.str(e.version), dropped: e.dropped,
		schemaURL: t.str(e.schemaURL), entityRefs: t.str(e.entityRefs), attrs: make([]store.Attr, len(e.attrs)),
	}
	for i, a := range e.attrs {
		if a.Value.Type == store.TypeAbsent {
			a.Value.Type = store.TypeEmpty
		}
		a.Value.Str = t.str(a.Value.Str)
		c.attrs[i] = store.Attr{Key: t.str(a.Key), Value: a.Value}
	}
	t.m.bytes += 112 + int64(len(c.attrs))*(stringSize+valueSize)
	t.list.push(c)
	t.n.Store(uint32(t.list.n))
	return code
}

func (t *refTable) str(s string) string {
	if s == "" {
		return ""
	}
	return t.strs.at(t.strs.intern(s))
}

// encode writes all fields of e to buf so that different entries differ.
func (t *refTable) encode(e *refEntry) {
	b := binary.AppendUvarint(t.buf[:0], uint64(e.dropped))
	for _, s := range [...]string{e.name, e.version, e.schemaURL, e.entityRefs} {
		b = appendString(b, s)
	}
	for i := range e.attrs {
		a := &e.attrs[i]
		typ := a.Value.Type
		if typ == store.TypeAbsent {
			typ = store.TypeEmpty
		}
		b = appendString(b, a.Key)
		b = append(b, byte(typ))
		b = binary.AppendUvarint(b, a.Value.Num)
		b = appendString(b, a.Value.Str)
	}
	t.buf = b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// len returns the number of entries that readers may use.
func (t *refTable) len() int { return int(t.n.Load()) }

func (t *refTable) at(i uint32) *refEntry { return t.list.at(int(i)) }

// values returns the entry's value in a column of it, nil if it has none. Of a repeated key the first counts.
func (e *refEntry) values(c store.Column, buf []store.Value) []store.Value {
	if c.Scope == store.ScopeIntrinsic {
		if c.Name == store.ScopeName {
			return append(buf[:0], store.String(e.name))
		}
		return append(buf[:0], store.String(e.version))
	}
	for i := range e.attrs {
		if e.attrs[i].Key == c.Name {
			return append(buf[:0], e.attrs[i].Value)
		}
	}
	return nil
}
