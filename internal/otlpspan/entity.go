package otlpspan

import (
	"fmt"

	"go.opentelemetry.io/collector/pdata/xpdata/entity"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bramble-tracing/bramble/internal/store"
)

// entityRef is opentelemetry.proto.common.v1.EntityRef.
type entityRef struct {
	schemaURL, typ    string
	idKeys, descrKeys []string
}

// append writes the reference as one element of Resource.entity_refs, fields in ascending order and empty ones left
// out, so that equal references have equal bytes.
func (e *entityRef) append(dst []byte) []byte {
	dst, mark := open(append(dst, tagResourceEntity), 1)
	if e.schemaURL != "" {
		dst = protowire.AppendString(append(dst, tagEntitySchemaURL), e.schemaURL)
	}
	if e.typ != "" {
		dst = protowire.AppendString(append(dst, tagEntityType), e.typ)
	}
	for _, k := range e.idKeys {
		dst = protowire.AppendString(append(dst, tagEntityIDKeys), k)
	}
	for _, k := range e.descrKeys {
		dst = protowire.AppendString(append(dst, tagEntityDescrKeys), k)
	}
	return closeMessage(dst, mark, 1)
}

func flattenEntityRefs(refs entity.EntityRefSlice) string {
	var out []byte
	for _, r := range refs.All() {
		e := entityRef{schemaURL: r.SchemaUrl(), typ: r.Type(), idKeys: r.IdKeys().AsRaw(), descrKeys: r.DescriptionKeys().AsRaw()}
		out = e.append(out)
	}
	return string(out)
}

// parseEntityRefs reads what Resource.EntityRefs holds.
func parseEntityRefs(s string) ([]entityRef, error) {
	if s == "" {
		return nil, nil
	}
	d := newDecoder([]byte(s))
	var out []entityRef
	for pos := 0; pos < len(s); {
		f, next, err := d.next(pos, len(s))
		if err != nil {
			return nil, fmt.Errorf("entity_refs: %w", err)
		}
		pos = next
		if f.tag != tagResourceEntity {
			return nil, fmt.Errorf("%w: entity_refs: unexpected tag %d", store.ErrInvalid, f.tag)
		}
		e, err := d.entityRef(f.lo, f.hi)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (d *decoder) entityRef(pos, end int) (e entityRef, err error) {
	for pos < end {
		var f field
		if f, pos, err = d.next(pos, end); err != nil {
			return e, fmt.Errorf("entity_refs: %w", err)
		}
		switch f.tag {
		case tagEntitySchemaURL:
			e.schemaURL = d.str[f.lo:f.hi]
		case tagEntityType:
			e.typ = d.str[f.lo:f.hi]
		case tagEntityIDKeys:
			e.idKeys = append(e.idKeys, d.str[f.lo:f.hi])
		case tagEntityDescrKeys:
			e.descrKeys = append(e.descrKeys, d.str[f.lo:f.hi])
		default:
			if err := f.unknown("entity_refs", 4); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

func buildEntityRefs(s string, dst entity.EntityRefSlice) error {
	refs, err := parseEntityRefs(s)
	if err != nil {
		return err
	}
	for _, r := range refs {
		e := dst.AppendEmpty()
		e.SetSchemaUrl(r.schemaURL)
		e.SetType(r.typ)
		e.IdKeys().FromRaw(r.idKeys)
		e.DescriptionKeys().FromRaw(r.descrKeys)
	}
	return nil
}
