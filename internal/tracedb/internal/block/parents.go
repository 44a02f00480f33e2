package block

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// noParent in the column of parent ids says that a span has none although it has a parent row.
const noParent = "\x00\x00\x00\x00\x00\x00\x00\x00"

// parents finds parent ids.
type parents struct {
	g     *granule
	rows  *column.Values
	ids   *column.Values
	spans map[int]*column.Values // span ids by granule
}

func (g *granule) parents() (*parents, error) {
	p := &parents{g: g, spans: make(map[int]*column.Values)}
	var err error
	if p.rows, err = g.column(colParentRow); err != nil {
		return nil, err
	}
	p.ids, err = g.column(colParentID)
	return p, err
}

// idSource gives a span id to rows, 8 bytes, or nothing.
type idSource interface {
	source
	id(row int) (string, error)
}

// spanIDs are the ids of spans.
type spanIDs struct{ v *column.Values }

//nolint:unparam // Of parents, which it shares the interface with, reading can fail.
func (s spanIDs) id(row int) (string, error) { return s.v.Str(row), nil }

func (s spanIDs) append(dst []store.Value, row int) ([]store.Value, error) {
	return append(dst, store.String(hex.EncodeToString([]byte(s.v.Str(row))))), nil
}

func (p *parents) append(dst []store.Value, row int) ([]store.Value, error) {
	id, err := p.id(row)
	if err == nil && id != "" {
		dst = append(dst, store.String(hex.EncodeToString([]byte(id))))
	}
	return dst, err
}

// exists marks the rows that have a parent.
func (p *parents) exists(keep *store.Bitmap) {
	for w := range store.Words {
		byRow, _ := p.rows.Present.Word(w)
		byID, _ := p.ids.Present.Word(w)
		keep.SetWord(w, byRow|byID)
	}
	for row, i := range p.ids.All() {
		if p.ids.Str(i) == noParent {
			keep.Clear(row)
		}
	}
}

// id returns the 8 bytes of a row's parent id, or nothing if it has none.
func (p *parents) id(row int) (string, error) {
	if i := p.ids.Index(row); i >= 0 {
		if id := p.ids.Str(i); id != noParent {
			return id, nil
		}
		return "", nil
	}
	i := p.rows.Index(row)
	if i < 0 {
		return "", nil
	}
	n, at, err := p.g.parentPlace(row, p.rows.Num(i))
	if err != nil {
		return "", err
	}
	v := p.spans[n]
	if v == nil {
		g, err := p.g.b.granule(n)
		if err != nil {
			return "", err
		}
		if v, err = g.column(colSpanID); err != nil {
			return "", err
		}
		p.spans[n] = v
	}
	return v.Str(at), nil
}

// parentPlace returns the granule and the row in it where the parent of a row is, by the value of its parent_row.
func (g *granule) parentPlace(row int, offset uint64) (granule, at int, err error) {
	place := int64(g.row+row) + int64(offset) //nolint:gosec // the bits
	if place < 0 || place >= int64(g.b.meta.Rows) {
		return 0, 0, g.b.corrupt(fileSpans, fmt.Errorf("parent of row %d is row %d of %d", g.row+row, place, g.b.meta.Rows))
	}
	// Row groups but the last hold whole granules, so granules count through the block.
	return int(place / store.GranuleRows), int(place % store.GranuleRows), nil
}

// parentOf is a row whose parent's span id is to be read, and where that is.
type parentOf struct{ k, granule, at int }

// parentsOf returns the parent id, 8 bytes or nothing, of each row of a stretch of the granule, whose span ids, parent
// rows and parent ids are given. Parents are mostly among the same rows; the ids of others are read where they are.
func (g *granule) parentsOf(s *stretch, spanIDs, rows, ids *column.Values) ([]string, error) {
	out := make([]string, s.len())
	var others []parentOf
	for k := range out {
		if i := ids.Index(k); i >= 0 {
			if id := ids.Str(i); id != noParent {
				out[k] = id
			}
			continue
		}
		i := rows.Index(k)
		if i < 0 {
			continue
		}
		n, at, err := g.parentPlace(s.row(k), rows.Num(i))
		if err != nil {
			return nil, err
		}
		if n == g.num {
			if place, ok := s.find(at); ok {
				out[k] = spanIDs.Str(place)
				continue
			}
		}
		others = append(others, parentOf{k, n, at})
	}
	slices.SortFunc(others, func(a, b parentOf) int { return cmp.Or(cmp.Compare(a.granule, b.granule), cmp.Compare(a.at, b.at)) })
	for len(others) > 0 {
		n := 1
		for n < len(others) && others[n].granule == others[0].granule {
			n++
		}
		if err := g.b.spanIDsAt(others[:n], s, out); err != nil {
			return nil, err
		}
		others = others[n:]
	}
	return out, nil
}

// spanIDsAt reads the span ids of rows of one granule, for a stretch of this or another one.
func (b *Block) spanIDsAt(rows []parentOf, of *stretch, out []string) error {
	g, err := b.granule(rows[0].granule)
	if err != nil {
		return err
	}
	s := g.stretch()
	s.keep = of.keep
	if of.want != nil {
		for _, r := range rows {
			s.want = append(s.want, uint16(r.at)) //nolint:gosec // a row of a granule
		}
		s.want = slices.Compact(s.want)
	}
	v, err := s.column(colSpanID)
	if err != nil {
		return err
	}
	for _, r := range rows {
		place, ok := s.find(r.at)
		if !ok {
			return b.corrupt(fileSpans, fmt.Errorf("granule %d has no row %d", rows[0].granule, r.at))
		}
		out[r.k] = v.Str(place)
	}
	return nil
}
