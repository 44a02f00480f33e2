package owner

import (
	"github.com/cespare/xxhash/v2"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// Ring is a list of nodes among which traces are divided. It is not changed after New.
type Ring struct {
	nodes  []string
	hashes []uint64 // Of the names.
}

// New returns a ring of nodes, whose names must differ. It keeps the slice.
func New(nodes []string) *Ring {
	r := &Ring{nodes: nodes, hashes: make([]uint64, len(nodes))}
	for i, n := range nodes {
		r.hashes[i] = xxhash.Sum64String(n)
	}
	return r
}

// Of returns the index of a trace's owner, -1 if there are no nodes.
func (r *Ring) Of(id spanid.TraceID) int {
	best, highest := -1, uint64(0)
	h := xxhash.Sum64(id[:])
	for i, n := range r.hashes {
		if w := mix(h ^ n); best < 0 || w > highest || w == highest && r.nodes[i] < r.nodes[best] {
			best, highest = i, w
		}
	}
	return best
}

// mix is the finaliser of MurmurHash3, in the public domain (Appleby): every bit of the sum depends on every bit of both.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
