package gathered

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Merge makes one batch of fragments, each from another store, without duplicates. What one fragment has twice stays.
func Merge(fragments ...*store.Batch) *store.Batch {
	m := merger{resources: map[string]int32{}, scopes: map[string]int32{}, index: map[identity]place{}}
	for n, f := range fragments {
		if f != nil {
			m.add(n, f)
		}
	}
	slices.SortFunc(m.out.Spans, func(a, b store.Span) int {
		return cmp.Or(
			bytes.Compare(a.TraceID[:], b.TraceID[:]), cmp.Compare(a.StartNano, b.StartNano),
			bytes.Compare(a.SpanID[:], b.SpanID[:]), cmp.Compare(a.Kind, b.Kind),
		)
	})
	return &m.out
}

// identity is what two copies of a span have in common. Kind belongs to it because the two sides of a call share an id
// in Zipkin's data.
type identity struct {
	trace spanid.TraceID
	span  spanid.SpanID
	kind  int32
}

type merger struct {
	out               store.Batch
	resources, scopes map[string]int32 // By contents.
	index             map[identity]place
	key               []byte
}

// place is where a span of the output is and which fragment it is from.
type place struct{ span, fragment int }

func (m *merger) add(n int, b *store.Batch) {
	resources, scopes := make([]int32, len(b.Resources)), make([]int32, len(b.Scopes))
	for i := range b.Resources {
		resources[i] = m.resource(&b.Resources[i])
	}
	for i := range b.Scopes {
		scopes[i] = m.scope(&b.Scopes[i])
	}
	for i := range b.Spans {
		s := b.Spans[i]
		s.Resource, s.Scope = resources[s.Resource], scopes[s.Scope]
		id := identity{s.TraceID, s.SpanID, s.Kind}
		at, ok := m.index[id]
		switch {
		case !ok || at.fragment == n:
			m.index[id] = place{len(m.out.Spans), n}
			m.out.Spans = append(m.out.Spans, s)
		case m.richness(&s) > m.richness(&m.out.Spans[at.span]):
			m.out.Spans[at.span] = s
		}
	}
}

// richness counts attributes, those of the resource included.
func (m *merger) richness(s *store.Span) int {
	return len(s.Attrs) + len(m.out.Resources[s.Resource].Attrs)
}

func (m *merger) resource(r *store.Resource) int32 {
	m.key = appendAttrs(m.key[:0], r.Attrs)
	m.key = binary.AppendUvarint(m.key, uint64(r.DroppedAttrs))
	m.key = appendText(appendText(m.key, r.SchemaURL), r.EntityRefs)
	n, ok := m.resources[string(m.key)]
	if !ok {
		n = int32(len(m.out.Resources)) //nolint:gosec // As many as spans at most.
		m.resources[string(m.key)] = n
		m.out.Resources = append(m.out.Resources, *r)
	}
	return n
}

func (m *merger) scope(s *store.Scope) int32 {
	m.key = appendAttrs(m.key[:0], s.Attrs)
	m.key = binary.AppendUvarint(m.key, uint64(s.DroppedAttrs))
	m.key = appendText(appendText(appendText(m.key, s.Name), s.Version), s.SchemaURL)
	n, ok := m.scopes[string(m.key)]
	if !ok {
		n = int32(len(m.out.Scopes)) //nolint:gosec // As many as spans at most.
		m.scopes[string(m.key)] = n
		m.out.Scopes = append(m.out.Scopes, *s)
	}
	return n
}

// appendAttrs writes attributes so that equal ones, in the same order, are equal bytes.
func appendAttrs(b []byte, attrs []store.Attr) []byte {
	b = binary.AppendUvarint(b, uint64(len(attrs)))
	for i := range attrs {
		b = appendText(b, attrs[i].Key)
		b = append(b, byte(attrs[i].Value.Type))
		b = binary.AppendUvarint(b, attrs[i].Value.Num)
		b = appendText(b, attrs[i].Value.Str)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Weight is about how many bytes a batch takes in memory.
func Weight(b *store.Batch) int64 {
	const attr, span, event, resource = 64, 256, 96, 128
	n := 0
	attrs := func(list []store.Attr) {
		for i := range list {
			n += attr + len(list[i].Key) + len(list[i].Value.Str)
		}
	}
	for i := range b.Resources {
		n += resource
		attrs(b.Resources[i].Attrs)
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		n += span + len(s.Name) + len(s.TraceState) + len(s.StatusMessage)
		attrs(s.Attrs)
		for k := range s.Events {
			n += event + len(s.Events[k].Name)
			attrs(s.Events[k].Attrs)
		}
		for k := range s.Links {
			n += event + len(s.Links[k].TraceState)
			attrs(s.Links[k].Attrs)
		}
	}
	return int64(n)
}
