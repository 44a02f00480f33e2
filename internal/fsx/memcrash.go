package fsx

import (
	"maps"
	"math/rand/v2"
	"time"
)

// sectorBytes is what a disk writes as a whole.
const sectorBytes = 512

// SyncDir implements FS.
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.walk("sync", path)
	if err != nil {
		return err
	}
	// An operation on two directories is atomic, so syncing one syncs the other up to there.
	dirs := map[*node]bool{d: true}
	durable := make([]bool, len(m.names))
	for i := len(m.names) - 1; i >= 0; i-- {
		for _, e := range m.names[i].edits {
			durable[i] = durable[i] || dirs[e.dir]
		}
		if durable[i] {
			for _, e := range m.names[i].edits {
				dirs[e.dir] = true
			}
		}
	}
	var rest []*nameOp
	for i, op := range m.names {
		if !durable[i] {
			rest = append(rest, op)
			continue
		}
		for _, e := range op.edits {
			e.apply(e.dir.disk)
		}
	}
	m.names = rest
	return nil
}

// CrashClone returns the file system that could be found after a power cut at this moment; which one of the many
// depends on rng. The original is unchanged and in use further.
//
// What was synced is there. Of the data written to a file since, there is nothing, all, the beginning, or any of its
// sectors, with zeros or garbage in place of the others. Of the changes of names, any may be missing, but one that
// builds upon another (the same name or the same file) is missing with it, and a rename is there wholly or not at
// all. Locks are gone. Everything in the clone counts as synced.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &cloner{rng: rng, kept: m.survivors(rng), done: make(map[*node]*node)}
	return &Mem{root: c.clone(m.root), locks: make(map[*node]bool), capacity: m.capacity}
}

// survivors chooses the pending operations on names that reached the disk. m.mu is held.
func (m *Mem) survivors(rng *rand.Rand) []*nameOp {
	if rng.IntN(4) == 0 {
		// What a journal does: a prefix.
		return m.names[:rng.IntN(len(m.names)+1)]
	}
	type slot struct {
		dir  *node
		name string
	}
	lostSlots, lostNodes := make(map[slot]bool), make(map[*node]bool)
	var kept []*nameOp
	p := rng.Float64()
	for _, op := range m.names {
		lost := rng.Float64() < p
		for _, e := range op.edits {
			lost = lost || lostSlots[slot{e.dir, e.name}] || lostNodes[e.moved]
		}
		if !lost {
			kept = append(kept, op)
			continue
		}
		for _, e := range op.edits {
			lostSlots[slot{e.dir, e.name}] = true
			lostNodes[e.moved] = true
		}
	}
	return kept
}

// cloner copies what survives. done keeps a node that is reached twice one node.
type cloner struct {
	rng  *rand.Rand
	kept []*nameOp
	done map[*node]*node
}

func (c *cloner) clone(n *node) *node {
	if d := c.done[n]; d != nil {
		return d
	}
	if !n.dir {
		data := c.contents(n)
		d := &node{modTime: n.modTime, data: data, synced: append([]byte(nil), data...)}
		c.done[n] = d
		return d
	}
	d := newDir()
	d.modTime = n.modTime
	c.done[n] = d
	names := make(map[string]*node, len(n.disk))
	maps.Copy(names, n.disk)
	for _, op := range c.kept {
		for _, e := range op.edits {
			if e.dir == n {
				e.apply(names)
			}
		}
	}
	for _, name := range sortedNames(names) {
		child := c.clone(names[name])
		d.children[name], d.disk[name] = child, child
	}
	return d
}

// contents decides what is left of a file.
func (c *cloner) contents(n *node) []byte {
	data := append([]byte(nil), n.synced...)
	if len(n.pending) == 0 {
		return data
	}
	switch c.rng.IntN(5) {
	case 0:
		return data
	case 1:
		return append(data[:0], n.data...)
	case 2, 3:
		return c.prefix(data, n.pending)
	default:
		return c.sectors(data, n.pending)
	}
}

// prefix applies the first operations and a part of the next one.
func (c *cloner) prefix(data []byte, ops []dataOp) []byte {
	k := c.rng.IntN(len(ops))
	for _, op := range ops[:k] {
		data = op.apply(data)
	}
	if cut := ops[k]; cut.data != nil {
		data = dataOp{off: cut.off, data: cut.data[:c.rng.IntN(len(cut.data)+1)]}.apply(data)
	}
	return data
}

// sectors applies all operations but leaves out sectors of what they wrote.
func (c *cloner) sectors(data []byte, ops []dataOp) []byte {
	garbage, p := c.rng.IntN(2) == 0, c.rng.Float64()
	for _, op := range ops {
		if op.data == nil {
			data = op.apply(data)
			continue
		}
		data = resize(data, max(int64(len(data)), op.off+int64(len(op.data))))
		for from := op.off; from < op.off+int64(len(op.data)); {
			to := min(from/sectorBytes*sectorBytes+sectorBytes, op.off+int64(len(op.data)))
			switch {
			case c.rng.Float64() >= p:
				copy(data[from:to], op.data[from-op.off:to-op.off])
			case garbage:
				for i := from; i < to; i++ {
					data[i] = byte(c.rng.Uint32())
				}
			}
			from = to
		}
	}
	return data
}

// Touch sets the modification time of a file, for tests of code that looks at it.
func (m *Mem) Touch(path string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.walk("chtimes", path)
	if err != nil {
		return err
	}
	n.modTime = at
	return nil
}
