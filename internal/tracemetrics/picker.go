package tracemetrics

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
)

// picker finds the values of a fixed set of keys in one pass over a list of attributes.
type picker struct {
	keys []string
	mask uint64 // bit min(len(key), 63) for each key
}

// add registers a key and returns the index of its value in what pick fills.
func (p *picker) add(key string) int {
	if i := slices.Index(p.keys, key); i >= 0 {
		return i
	}
	p.keys = append(p.keys, key)
	p.mask |= 1 << min(len(key), 63)
	return len(p.keys) - 1
}

func (p *picker) addAll(keys []string) []int {
	out := make([]int, len(keys))
	for i, k := range keys {
		out[i] = p.add(k)
	}
	return out
}

// pick sets out[i] to the value of key i, nil if there is none; of a key that stands twice the first counts.
func (p *picker) pick(attrs []store.Attr, out []*store.Value) {
	clear(out)
	for i := range attrs {
		a := &attrs[i]
		if p.mask&(1<<min(len(a.Key), 63)) == 0 {
			continue
		}
		for j, key := range p.keys {
			if key == a.Key {
				if out[j] == nil {
					out[j] = &a.Value
				}
				break
			}
		}
	}
}
