package block

import (
	"encoding/hex"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// children are the events or links of a granule's spans: a range of rows of one row group of their table, in pieces of
// at most store.GranuleRows rows.
type children struct {
	g       *granule
	t       *tableFile
	group   int
	pieces  []piece
	offsets []uint32 // row i of the granule owns the children offsets[i] to offsets[i+1]
}

type piece struct{ first, rows int }

// childRows returns the list of rows per granule that a row group has in a table.
func (g *Group) childRows(file int) []int {
	if file == fileEvents {
		return g.EventRows
	}
	return g.LinkRows
}

// children finds the events or links of the granule.
func (g *granule) children(file int) (*children, error) {
	c, total, err := g.childPieces(file)
	if err != nil {
		return nil, err
	}
	c.offsets = make([]uint32, g.rows+1)
	if total == 0 {
		return c, nil
	}
	counts, err := g.column(childCounts(file))
	if err != nil {
		return nil, err
	}
	return c, g.childOffsets(counts, total, nil, func(row int, _, end uint32) { c.offsets[row+1] = end })
}

// childCounts returns the column of spans that has the number of their events or links.
func childCounts(file int) int {
	if file == fileLinks {
		return colLinks
	}
	return colEvents
}

// childPieces finds where the events or links of the granule are, without saying which are whose, and how many there are.
func (g *granule) childPieces(file int) (*children, int, error) {
	c := &children{g: g}
	perGranule := g.meta.childRows(file)
	at := g.first / store.GranuleRows
	total := perGranule[at]
	if total == 0 {
		return c, 0, nil
	}
	for i := range g.group {
		if sum(g.b.meta.Groups[i].childRows(file)) > 0 {
			c.group++
		}
	}
	var err error
	if c.t, err = g.b.tableFile(file); err != nil {
		return nil, 0, err
	}
	first := sum(perGranule[:at])
	for from := 0; from < total; from += store.GranuleRows {
		c.pieces = append(c.pieces, piece{first + from, min(store.GranuleRows, total-from)})
	}
	return c, total, nil
}

// childOffsets calls f with the range of children of each of the wanted rows, all if want is nil.
func (g *granule) childOffsets(counts *column.Values, total int, want []uint16, f func(row int, from, end uint32)) error {
	n := uint64(0)
	for row := range g.rows {
		from := n
		if n += counts.Num(row); n > uint64(total) || n < from { //nolint:gosec // not negative
			break
		}
		if want != nil {
			if len(want) == 0 || int(want[0]) != row {
				continue
			}
			want = want[1:]
		}
		f(row, uint32(from), uint32(n)) //nolint:gosec // at most total
	}
	if n != uint64(total) { //nolint:gosec // not negative
		return g.b.corrupt(fileSpans, fmt.Errorf("spans of granule %d have other counts of children than meta.json", g.num))
	}
	return nil
}

// column returns the values of a column of all pieces.
func (c *children) column(col int) ([]*column.Values, error) {
	out := make([]*column.Values, len(c.pieces))
	for i, p := range c.pieces {
		var err error
		if out[i], err = c.g.b.values(c.t, c.group, col, p.first, p.rows); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// childSource gives the values of all children of a row.
type childSource struct {
	offsets []uint32
	pieces  []source
}

func (s *childSource) append(dst []store.Value, row int) ([]store.Value, error) {
	for c := s.offsets[row]; c < s.offsets[row+1]; c++ {
		var err error
		if dst, err = s.pieces[c/store.GranuleRows].append(dst, int(c%store.GranuleRows)); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (g *granule) childAttrs(file int, c store.Column) (source, error) {
	ch, err := g.children(file)
	if err != nil {
		return nil, err
	}
	out := &childSource{offsets: ch.offsets}
	for _, p := range ch.pieces {
		s, err := g.b.attrSource(ch.t, c.Scope, c.Name, ch.group, p.first, p.rows)
		if err != nil {
			return nil, err
		}
		out.pieces = append(out.pieces, s)
	}
	return out, nil
}

// childIntrinsics are the intrinsics of events and links.
var childIntrinsics = map[string]struct{ file, col int }{
	store.EventName: {fileEvents, colEventName}, store.EventTimeSinceStart: {fileEvents, colEventOffset},
	store.LinkTraceID: {fileLinks, colLinkTraceID}, store.LinkSpanID: {fileLinks, colLinkSpanID},
}

func (g *granule) childIntrinsic(name string) (source, error) {
	in := childIntrinsics[name]
	ch, err := g.children(in.file)
	if err != nil {
		return nil, err
	}
	out := &childSource{offsets: ch.offsets}
	if len(ch.pieces) == 0 {
		return out, nil
	}
	vs, err := ch.column(in.col)
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		if in.col == colEventName && in.file == fileEvents || name == store.EventTimeSinceStart {
			out.pieces = append(out.pieces, &columnSource{v: v})
			continue
		}
		out.pieces = append(out.pieces, funcSource(func(dst []store.Value, row int) ([]store.Value, error) {
			return append(dst, store.String(hex.EncodeToString([]byte(v.Str(row))))), nil
		}))
	}
	return out, nil
}
