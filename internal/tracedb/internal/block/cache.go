package block

import (
	"container/list"
	"sync"

	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// CacheKey names something that was decoded from a block.
type CacheKey struct {
	Block   uint64 // unique within the process
	Kind    uint8
	Table   uint8
	Group   int32
	Column  int32
	Granule int32
}

// Cache keeps what was decoded, within a budget of bytes. What is handed out stays valid when it is evicted. It is
// safe for concurrent use.
type Cache interface {
	Get(k CacheKey) (v any, ok bool)
	Put(k CacheKey, v any, bytes int64)
	// DropBlock forgets everything of a block.
	DropBlock(block uint64)
}

// LRU is a Cache that evicts what was not used for the longest time.
type LRU struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	order *list.List // of *cached, most recently used first
	items map[CacheKey]*list.Element
}

type cached struct {
	key   CacheKey
	value any
	bytes int64
}

// NewLRU returns a cache for that many bytes. With 0 it keeps nothing.
func NewLRU(limit int64) *LRU {
	return &LRU{limit: limit, order: list.New(), items: make(map[CacheKey]*list.Element)}
}

// Get implements Cache.
func (c *LRU) Get(k CacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[k]
	if e == nil {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true //nolint:forcetypeassert // we put it there
}

// Put implements Cache.
func (c *LRU) Put(k CacheKey, v any, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.items[k]; e != nil {
		c.remove(e)
	}
	if bytes > c.limit {
		return
	}
	c.items[k] = c.order.PushFront(&cached{k, v, bytes})
	for c.bytes += bytes; c.bytes > c.limit; {
		c.remove(c.order.Back())
	}
}

// DropBlock implements Cache.
func (c *LRU) DropBlock(block uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*cached).key.Block == block { //nolint:forcetypeassert // we put it there
			c.remove(e)
		}
		e = next
	}
}

// Bytes returns how much is kept.
func (c *LRU) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

func (c *LRU) remove(e *list.Element) {
	it := e.Value.(*cached) //nolint:forcetypeassert // we put it there
	c.order.Remove(e)
	delete(c.items, it.key)
	c.bytes -= it.bytes
}

// tracePages keeps pages of a block's trace index.
type tracePages struct {
	cache Cache
	block uint64
}

func (c tracePages) key(page int) CacheKey {
	return CacheKey{Block: c.block, Kind: cacheTracePage, Table: fileTraces, Granule: int32(page)} //nolint:gosec // of a file of 4 GiB at most
}

// Get implements index.PageCache.
func (c tracePages) Get(page int) (*index.Page, bool) {
	v, ok := c.cache.Get(c.key(page))
	if !ok {
		return nil, false
	}
	return v.(*index.Page), true //nolint:forcetypeassert // we put it there
}

// Put implements index.PageCache.
func (c tracePages) Put(page int, p *index.Page) { c.cache.Put(c.key(page), p, int64(len(p))) }
