package block

import (
	"slices"
	"sort"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// childReader reads whole events or links of rows of a granule.
type childReader struct {
	*children
	starts []uint32           // per piece: its first child, of those that are read
	fixed  [][]*column.Values // per piece
	attrs  []*rowAttrs        // per piece
}

// childReader returns a reader for the events or links of a stretch of the granule. Its offsets are those of the rows of
// the stretch, by their place in it, and count the children that are read.
func (g *granule) childReader(file int, of *stretch) (*childReader, error) {
	if of.want != nil {
		return g.childrenOf(file, of)
	}
	ch, err := g.children(file)
	if err != nil {
		return nil, err
	}
	r := &childReader{children: ch}
	for i, p := range ch.pieces {
		if err := r.addPiece(file, uint32(i*store.GranuleRows), p, of, nil); err != nil { //nolint:gosec // children of a granule
			return nil, err
		}
	}
	return r, nil
}

// childrenOf is childReader for some rows. Without events or links of theirs nothing but the counts is read.
func (g *granule) childrenOf(file int, of *stretch) (*childReader, error) {
	ch, total, err := g.childPieces(file)
	if err != nil {
		return nil, err
	}
	ch.offsets = make([]uint32, 1, of.len()+1)
	r := &childReader{children: ch}
	if total == 0 {
		ch.offsets = ch.offsets[:of.len()+1]
		return r, nil
	}
	counts, err := g.counts(file, of.keep)
	if err != nil {
		return nil, err
	}
	var rows []uint32 // of the children, counted through the pieces
	err = g.childOffsets(counts, total, of.want, func(_ int, from, end uint32) {
		for c := from; c < end; c++ {
			rows = append(rows, c)
		}
		ch.offsets = append(ch.offsets, uint32(len(rows))) //nolint:gosec // children of a granule
	})
	if err != nil {
		return nil, err
	}
	pieces := ch.pieces
	ch.pieces = nil
	start := uint32(0)
	for i, p := range pieces {
		var some []uint16
		for len(rows) > 0 && rows[0] < uint32((i+1)*store.GranuleRows) { //nolint:gosec // as above
			some = append(some, uint16(rows[0]%store.GranuleRows)) //nolint:gosec // below GranuleRows
			rows = rows[1:]
		}
		if len(some) == 0 {
			continue
		}
		ch.pieces = append(ch.pieces, p)
		if err := r.addPiece(file, start, p, of, some); err != nil {
			return nil, err
		}
		start += uint32(len(some)) //nolint:gosec // as above
	}
	return r, nil
}

// counts returns the numbers of events or links of all rows, which say where those of a row begin.
func (g *granule) counts(file int, keep bool) (*column.Values, error) {
	col := childCounts(file)
	if keep {
		return g.column(col)
	}
	if v, ok := g.b.cachedValues(g.spans, g.group, col, g.first); ok {
		return v, nil
	}
	dict, err := g.b.dictOf(g.spans, g.group, col)
	if err != nil {
		return nil, err
	}
	return g.spans.Granule(g.group, col, g.first, g.rows, dict)
}

// addPiece reads the next piece, or the wanted rows of it, for a stretch of the granule. start is the first child of it.
func (r *childReader) addPiece(file int, start uint32, p piece, of *stretch, want []uint16) error {
	part := stretch{b: r.g.b, t: r.t, group: r.group, first: p.first, rows: p.rows, want: want, keep: of.keep}
	fixed, attrs, err := part.read(childFixed[file])
	if err != nil {
		return err
	}
	byColumn := make([]*column.Values, slices.Max(childFixed[file])+1)
	for i, col := range childFixed[file] {
		byColumn[col] = fixed[i]
	}
	r.starts, r.fixed, r.attrs = append(r.starts, start), append(r.fixed, byColumn), append(r.attrs, attrs)
	return nil
}

// childFixed are the fixed columns that events and links are made of.
var childFixed = map[int][]int{
	fileEvents: {colEventOffset, colEventName, colEventDropped},
	fileLinks:  {colLinkTraceID, colLinkSpanID, colLinkState, colLinkFlags, colLinkDropped},
}

// at returns the piece of a child and its row there.
func (r *childReader) at(child uint32) (fixed []*column.Values, attrs *rowAttrs, row int) {
	p := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > child }) - 1
	return r.fixed[p], r.attrs[p], int(child - r.starts[p])
}
