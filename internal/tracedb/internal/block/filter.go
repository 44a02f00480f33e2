package block

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Filter implements store.Part.
func (b *Block) Filter(ctx context.Context, granule int, p *store.Predicate, sel *store.Bitmap) (err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filter column %q of block %s: %w", p.Column.Name, b.meta.ID, err)
	}
	g, err := b.granule(granule)
	if err != nil {
		return err
	}
	if g.rows < store.GranuleRows {
		var all store.Bitmap
		all.Fill(g.rows)
		sel.And(&all)
	}
	src, err := g.source(p.Column)
	if err != nil {
		return err
	}
	switch s := src.(type) {
	case *columnSource:
		return b.filterColumn(s, p, sel)
	case *attrSource:
		if s.overflow == nil && len(s.typed) == 0 {
			if p.Op != store.OpNotExists {
				*sel = store.Bitmap{}
			}
			return nil
		}
		if s.overflow == nil && len(s.typed) == 1 {
			return b.filterColumn(&s.typed[0], p, sel)
		}
	case *refSource:
		return filterRefs(s, p, sel)
	}
	return filterRows(src, p, sel)
}

// filterRows decides row by row.
func filterRows(src source, p *store.Predicate, sel *store.Bitmap) error {
	var buf []store.Value
	for r := range sel.Rows() {
		var err error
		if buf, err = src.append(buf[:0], r); err != nil {
			return err
		}
		if !p.MatchSpan(buf) {
			sel.Clear(r)
		}
	}
	return nil
}

// filterColumn decides by one column: once per dictionary entry, or once per row.
func (b *Block) filterColumn(s *columnSource, p *store.Predicate, sel *store.Bitmap) error {
	absent := p.Op == store.OpNotExists
	if s.v.Dict == nil {
		var one [1]store.Value
		for r := range sel.Rows() {
			keep := absent
			if i := s.v.Index(r); i >= 0 {
				one[0] = s.v.Value(i)
				keep = p.MatchSpan(one[:])
			}
			if !keep {
				sel.Clear(r)
			}
		}
		return nil
	}
	match := b.matches(s.from, s.v.Dict, p)
	for r := range sel.Rows() {
		keep := absent
		if i := s.v.Index(r); i >= 0 {
			keep = match[s.v.Codes[i]]
		}
		if !keep {
			sel.Clear(r)
		}
	}
	return nil
}

// filterRefs decides once per distinct value of the resources or scopes.
func filterRefs(s *refSource, p *store.Predicate, sel *store.Bitmap) error {
	match := matchAll(s.col.dict, p)
	absent := p.Op == store.OpNotExists
	for r := range sel.Rows() {
		c, err := s.code(r)
		if err != nil {
			return err
		}
		if c == store.NoCode && !absent || c != store.NoCode && !match[c] {
			sel.Clear(r)
		}
	}
	return nil
}

func matchAll(dict []store.Value, p *store.Predicate) []bool {
	out := make([]bool, len(dict))
	for i := range dict {
		out[i] = p.MatchSpan(dict[i : i+1])
	}
	return out
}

// matchMemo remembers which entries of a dictionary satisfy recent predicates, so that a query tests them once for all
// granules.
type matchMemo struct {
	mu   sync.Mutex
	last []remembered
}

type remembered struct {
	p     store.Predicate
	match []bool
}

// maxRemembered bounds the predicates per dictionary.
const maxRemembered = 8

// matches returns which entries of a dictionary satisfy p.
func (b *Block) matches(from chunkRef, dict *column.Dict, p *store.Predicate) []bool {
	key := CacheKey{
		Block: b.id, Kind: cacheMatches, Table: uint8(from.table), Group: int32(from.group), Column: int32(from.col), //nolint:gosec // small
	}
	var memo *matchMemo
	if v, ok := b.reader.Cache.Get(key); ok {
		memo = v.(*matchMemo) //nolint:forcetypeassert // we put it there
	} else {
		memo = &matchMemo{}
		b.reader.Cache.Put(key, memo, 200+int64(len(dict.Values)*maxRemembered))
	}
	memo.mu.Lock()
	defer memo.mu.Unlock()
	for i := range memo.last {
		if samePredicate(&memo.last[i].p, p) {
			return memo.last[i].match
		}
	}
	r := remembered{p: *p, match: matchAll(dict.Values, p)}
	r.p.Values = slices.Clone(p.Values)
	if len(memo.last) >= maxRemembered {
		memo.last = slices.Delete(memo.last, 0, 1)
	}
	memo.last = append(memo.last, r)
	return r.match
}

// samePredicate compares what predicates ask, not whether they are one, because callers may reuse them.
func samePredicate(a, b *store.Predicate) bool {
	return a.Op == b.Op && a.Regex == b.Regex && a.Column == b.Column && slices.Equal(a.Values, b.Values)
}
