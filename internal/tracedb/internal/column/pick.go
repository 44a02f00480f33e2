package column

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Pick reads the values of some rows of a granule, as Granule would, without decoding the others. want holds the rows
// from the granule's start, ascending, each once. The rows of the result are counted by their place in want.
//
// Every page that is read is checked by its sum. Values behind the last wanted one are not looked at, and pages of which
// the page index or the dictionary tells all values are not read.
func (f *File) Pick(gi, col, first, rows int, want []uint16, dict *Dict) (*Values, error) {
	if n := len(want); n > 0 && int(want[n-1]) >= rows {
		return nil, fmt.Errorf("%w: row %d of a granule of %d", store.ErrInvalid, want[n-1], rows)
	}
	v, err := f.newValues(gi, col, len(want), dict)
	if err != nil || f.Empty(gi, col) && v.Present != nil {
		return v, err
	}
	pages, err := f.granulePages(gi, col, first, rows)
	if err != nil {
		return nil, err
	}
	p := picker{f: f, v: v, spec: &f.specs[col], chunk: &f.groups[gi].chunks[col]}
	for i := range pages {
		ref := &pages[i]
		start := ref.firstRow - first
		n := 0
		for n < len(want) && int(want[n]) < start+ref.rows {
			n++
		}
		if err := p.page(ref, start, want[:n]); err != nil {
			return nil, err
		}
		want = want[n:]
	}
	if v.Present != nil {
		v.Present.rank()
	}
	v.finish(p.text, p.spec.Type)
	return v, nil
}

// picker collects the wanted values of one column.
type picker struct {
	f     *File
	v     *Values
	spec  *Spec
	chunk *chunk
	row   int // of v, the next one
	text  []byte
}

// page adds the values of the wanted rows of a page that begins at row start of the granule.
func (p *picker) page(ref *pageRef, start int, want []uint16) error {
	at := p.row
	p.row += len(want)
	if len(want) == 0 || ref.allNull && p.v.Present != nil || p.constant(ref, len(want)) {
		return nil
	}
	pg, err := p.f.dataPage(p.chunk, ref)
	if err != nil {
		return err
	}
	defer p.f.freePage(pg)
	if err := p.decode(pg.raw, at, start, pg.values, want); err != nil {
		return p.f.corrupt(ref.offset, fmt.Errorf("page of column %q: %w", p.spec.Name, err))
	}
	return nil
}

// constant adds n times the value of a page in which every row has the same, if that is known without it.
func (p *picker) constant(ref *pageRef, n int) bool {
	v := p.v
	switch {
	case v.Present != nil:
		return false
	case v.Dict != nil:
		if len(v.Dict.Values) != 1 {
			return false
		}
		for range n {
			v.Codes = append(v.Codes, 0)
		}
	case p.spec.Type == Int && ref.bounded && bytes.Equal(ref.min, ref.max):
		for range n {
			v.Nums = append(v.Nums, binary.LittleEndian.Uint64(ref.min))
		}
	default:
		return false
	}
	v.count += n
	return true
}

// decode adds the values of the wanted rows of a page of so many rows. at is the first of them in the result.
func (p *picker) decode(raw []byte, at, start, rows int, want []uint16) error {
	var room [64]int
	places := room[:0] // of the wanted values among the page's
	n := rows
	if p.v.Present == nil {
		for _, row := range want {
			places = append(places, int(row)-start)
		}
	} else {
		levels, values, err := splitLevels(raw)
		if err != nil {
			return err
		}
		var all Presence
		if err := readLevels(&all, 0, rows, levels); err != nil {
			return err
		}
		n, raw = all.rank(), values
		for i, row := range want {
			if place := all.Index(int(row) - start); place >= 0 {
				p.v.Present.set(at + i)
				places = append(places, place)
			}
		}
	}
	if len(places) == 0 {
		return nil
	}
	p.v.count += len(places)
	return p.values(raw, n, places)
}

// Pick returns the values of some rows as File.Pick would.
func (v *Values) Pick(want []uint16) *Values {
	out := &Values{Rows: len(want), typ: v.typ, width: v.width, Dict: v.Dict}
	if v.Present != nil {
		out.Present = new(Presence)
	}
	var text []byte
	for i, row := range want {
		at := v.Index(int(row))
		if at < 0 {
			continue
		}
		if v.Present != nil {
			out.Present.set(i)
		}
		out.count++
		switch {
		case v.Dict != nil:
			out.Codes = append(out.Codes, v.Codes[at])
		case v.Nums != nil:
			out.Nums = append(out.Nums, v.Nums[at])
		default:
			text = append(text, v.Text(at)...)
			if v.ends != nil {
				out.ends = append(out.ends, uint32(len(text))) //nolint:gosec // a part of v's
			}
		}
	}
	if v.Present != nil {
		out.Present.rank()
	}
	out.text = string(text)
	return out
}
