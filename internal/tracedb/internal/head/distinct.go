package head

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

// maxDistinct is how many values of a column Distinct lists at most.
const maxDistinct = 1 << 16

// Distinct implements store.Lister, from the dictionaries. Numbers have none.
func (p *Part) Distinct(ctx context.Context, c store.Column) (values []store.Value, complete bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("list values of %q in %s: %w", c.Name, p.h.id, err)
	}
	switch {
	case c == store.Intrinsic(store.SpanName):
		return p.h.names.list(store.TypeString)
	case c == store.Intrinsic(store.EventName):
		return p.h.events.names.list(store.TypeString)
	case c.Scope == store.ScopeSpan:
		return p.h.attrs.distinct(c.Name)
	case c.Scope == store.ScopeEvent:
		return p.h.events.attrs.distinct(c.Name)
	case c.Scope == store.ScopeLink:
		return p.h.links.attrs.distinct(c.Name)
	}
	return nil, false, nil
}

// distinct lists the values of a key unless some are numbers or in the overflow list.
func (t *attrTable) distinct(key string) (out []store.Value, complete bool, err error) {
	g, spilled := t.group(key)
	complete = !spilled
	g.columns(func(c *column) {
		if c.dict == nil {
			complete = complete && c.typ == store.TypeEmpty
			return
		}
		values, all, _ := c.dict.list(c.typ)
		out, complete = append(out, values...), complete && all
	})
	if !complete {
		return nil, false, nil
	}
	return out, true, nil
}

// list copies the entries, unless they are too many.
func (d *dict) list(typ store.ValueType) ([]store.Value, bool, error) {
	n := d.len()
	if n > maxDistinct {
		return nil, false, nil
	}
	out := make([]store.Value, n)
	for i := range out {
		out[i] = store.Value{Type: typ, Str: d.at(uint32(i))}
	}
	return out, true, nil
}

var _ store.Lister = (*Part)(nil)
