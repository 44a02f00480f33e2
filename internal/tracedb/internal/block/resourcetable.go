package block

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// resources is resources.parquet in memory.
type resources struct {
	resources []store.Resource
	scopes    []store.Scope
	same      []int64 // per resource: the id of the first one that is equal
	columns   refColumns
}

// findSame finds equal resources, which row groups that were copied from several blocks, and patches, leave behind.
func (r *resources) findSame() {
	var t tables
	first := make(map[string]int64, len(r.resources))
	for i := range r.resources {
		t.resourceKey(&r.resources[i])
		id, ok := first[string(t.key)]
		if !ok {
			id = int64(i)
			first[string(t.key)] = id
		}
		r.same = append(r.same, id)
	}
}

// resources returns the resources and scopes of the block.
func (b *Block) resources() (*resources, error) {
	key := CacheKey{Block: b.id, Kind: cacheResources, Group: b.overlay.cacheSeq()}
	if v, ok := b.reader.Cache.Get(key); ok {
		return v.(*resources), nil //nolint:forcetypeassert // we put it there
	}
	t, err := b.tableFile(fileResources)
	if err != nil {
		return nil, err
	}
	out := &resources{}
	size := int64(0)
	for g := range t.Groups() {
		for first := 0; first < t.GroupRows(g); first += store.GranuleRows {
			if err := b.readResources(t, g, first, out, &size); err != nil {
				return nil, err
			}
		}
	}
	if len(out.resources) != b.meta.Resources || len(out.scopes) != b.meta.Scopes {
		return nil, b.corrupt(fileResources, fmt.Errorf("%d resources and %d scopes, want %d and %d",
			len(out.resources), len(out.scopes), b.meta.Resources, b.meta.Scopes))
	}
	if err := b.overlay.patch(out); err != nil {
		return nil, b.corrupt(fileResources, err)
	}
	out.findSame()
	b.reader.Cache.Put(key, out, size)
	return out, nil
}

func (b *Block) readResources(t *tableFile, group, first int, out *resources, size *int64) error {
	rows := min(store.GranuleRows, t.GroupRows(group)-first)
	part := stretch{b: b, t: t, group: group, first: first, rows: rows}
	fixed, all, err := part.read(firstColumns(colResEntities + 1))
	if err != nil {
		return err
	}
	for r := range rows {
		attrs, err := all.of(r)
		if err != nil {
			return err
		}
		*size += 160 + int64(len(attrs))*64
		dropped := uint32(fixed[colResDropped].Num(r)) //nolint:gosec // it was one
		id := int(fixed[colResID].Num(r))              //nolint:gosec // checked below
		schema := fixed[colResSchema].Str(r)
		switch kind := fixed[colResKind].Str(r); {
		case kind == kindResource && id == len(out.resources):
			res := store.Resource{Attrs: attrs, DroppedAttrs: dropped, SchemaURL: schema, EntityRefs: text(fixed[colResEntities], r)}
			out.resources = append(out.resources, res)
		case kind == kindScope && id == len(out.scopes):
			sc := store.Scope{
				Name: text(fixed[colResName], r), Version: text(fixed[colResVersion], r), Attrs: attrs, DroppedAttrs: dropped, SchemaURL: schema,
			}
			out.scopes = append(out.scopes, sc)
		default:
			return b.corrupt(fileResources, fmt.Errorf("row of kind %q with id %d is out of order", kind, id))
		}
	}
	return nil
}

// text returns the text of a row, empty if it has none.
func text(v *column.Values, row int) string {
	if i := v.Index(row); i >= 0 {
		return v.Str(i)
	}
	return ""
}
