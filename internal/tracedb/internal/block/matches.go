package block

import (
	"slices"
	"sync"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

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
