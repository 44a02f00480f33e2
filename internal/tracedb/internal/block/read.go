package block

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// Read implements store.Part.
func (b *Block) Read(ctx context.Context, granule int, c store.Column, sel *store.Bitmap, dst *store.Vector) (err error) {
	defer b.contain(&err)
	dst.Reset()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read column %q of block %s: %w", c.Name, b.meta.ID, err)
	}
	g, err := b.granule(granule)
	if err != nil {
		return err
	}
	if sel.Beyond(g.rows) {
		return fmt.Errorf("%w: a row from %d on of granule %d in block %s", store.ErrInvalid, g.rows, granule, b.meta.ID)
	}
	src, err := g.source(c)
	if err != nil {
		return err
	}
	return read(src, c.Multi(), sel, dst)
}

// read fills a vector from a source.
func read(src source, multi bool, sel *store.Bitmap, dst *store.Vector) error {
	if multi {
		dst.Offsets = append(dst.Offsets, 0)
	}
	switch s := src.(type) {
	case *columnSource:
		readColumn(s, sel, dst)
		return nil
	case *attrSource:
		if s.overflow == nil && len(s.typed) == 1 {
			readColumn(&s.typed[0], sel, dst)
			return nil
		}
	case *refSource:
		return readRefs(s, sel, dst)
	case traceSource:
		s.read(sel, dst)
		return nil
	case idSource:
		return readIDs(s, sel, dst)
	case intSource:
		dst.Ints = slices.Grow(dst.Ints, sel.Count())
		for r := range sel.Rows() {
			dst.Ints = append(dst.Ints, s(r))
		}
		return nil
	}
	return readRows(src, multi, sel, dst)
}

// TraceIDs implements store.TraceReader.
func (b *Block) TraceIDs(ctx context.Context, granule int, sel *store.Bitmap, dst []spanid.TraceID) (_ []spanid.TraceID, err error) {
	defer b.contain(&err)
	if err := ctx.Err(); err != nil {
		return dst, fmt.Errorf("read trace ids of block %s: %w", b.meta.ID, err)
	}
	g, err := b.granule(granule)
	if err != nil {
		return dst, err
	}
	v, err := g.column(colTraceID)
	if err != nil {
		return dst, err
	}
	if sel.Beyond(g.rows) {
		return dst, fmt.Errorf("%w: a row from %d on of granule %d in block %s", store.ErrInvalid, g.rows, granule, b.meta.ID)
	}
	dst = slices.Grow(dst, sel.Count())
	for r := range sel.Rows() {
		var id spanid.TraceID
		copy(id[:], v.Str(r))
		dst = append(dst, id)
	}
	return dst, nil
}

func readColumn(s *columnSource, sel *store.Bitmap, dst *store.Vector) {
	switch {
	case s.ints:
		readInts(s.v, sel, dst)
	case s.v.Dict != nil:
		dst.Dict = s.v.Dict.Values
		readCodes(s.v, sel, dst)
	default:
		dst.Values = slices.Grow(dst.Values, sel.Count())
		for r := range sel.Rows() {
			var v store.Value
			if i := s.v.Index(r); i >= 0 {
				v = s.v.Value(i)
			}
			dst.Values = append(dst.Values, v)
		}
	}
}

// idsAtOnce is for how many ids memory is taken at a time: their texts are kept together.
const idsAtOnce = 64

// readIDs reads the texts of span ids.
func readIDs(s idSource, sel *store.Bitmap, dst *store.Vector) error {
	n := sel.Count()
	start := len(dst.Values)
	dst.Values = slices.Grow(dst.Values, n)
	var raw [idsAtOnce * 8]byte
	buf := raw[:0]
	first := start // of the rows whose ids are in buf
	flush := func() {
		text := hex.EncodeToString(buf)
		for i := first; i < len(dst.Values); i++ {
			if dst.Values[i].Type == store.TypeString {
				dst.Values[i].Str, text = text[:16], text[16:]
			}
		}
		buf, first = buf[:0], len(dst.Values)
	}
	for r := range sel.Rows() {
		id, err := s.id(r)
		if err != nil {
			return err
		}
		if id == "" {
			dst.Values = append(dst.Values, store.Value{})
			continue
		}
		dst.Values = append(dst.Values, store.Value{Type: store.TypeString})
		if buf = append(buf, id...); len(buf) == len(raw) {
			flush()
		}
	}
	flush()
	return nil
}

// readInts reads a column of numbers that every row has.
func readInts(v *column.Values, sel *store.Bitmap, dst *store.Vector) {
	n := sel.Count()
	dst.Ints = slices.Grow(dst.Ints, n)[:n]
	out := dst.Ints
	if v.Dict == nil && n == v.Rows {
		for i, num := range v.Nums[:n] {
			out[i] = int64(num) //nolint:gosec // the bits
		}
		return
	}
	k := 0
	for w := range store.Words {
		for marks := sel.Word(w); marks != 0; marks &= marks - 1 {
			out[k] = int64(v.Num(w<<6 + bits.TrailingZeros64(marks))) //nolint:gosec // the bits
			k++
		}
	}
}

// readCodes reads dictionary codes.
func readCodes(v *column.Values, sel *store.Bitmap, dst *store.Vector) {
	n := sel.Count()
	dst.Codes = slices.Grow(dst.Codes, n)[:n]
	out := dst.Codes
	if v.Present == nil && n == v.Rows {
		for i, c := range v.Codes[:n] {
			out[i] = uint32(c)
		}
		return
	}
	k := 0
	for w := range store.Words {
		marks := sel.Word(w)
		if marks == 0 {
			continue
		}
		has, before := ^uint64(0), w<<6
		if v.Present != nil {
			has, before = v.Present.Word(w)
		}
		if marks == has {
			for _, c := range v.Codes[before : before+bits.OnesCount64(has)] {
				out[k] = uint32(c)
				k++
			}
			continue
		}
		for ; marks != 0; marks &= marks - 1 {
			bit := marks & -marks
			out[k] = store.NoCode
			if has&bit != 0 {
				out[k] = uint32(v.Codes[before+bits.OnesCount64(has&(bit-1))])
			}
			k++
		}
	}
}

// readRefs reads a property of resources or scopes as dictionary codes.
func readRefs(s *refSource, sel *store.Bitmap, dst *store.Vector) error {
	dst.Dict = s.col.dict
	n := sel.Count()
	if s.ids.Dict == nil && n == s.ids.Rows {
		dst.Codes = slices.Grow(dst.Codes, n)[:n]
		byID, base := s.col.codes, uint64(s.base) //nolint:gosec // not negative
		for i, num := range s.ids.Nums[:n] {
			id := num + base
			if id >= uint64(len(byID)) {
				_, err := s.code(i)
				return err
			}
			dst.Codes[i] = byID[id]
		}
		return nil
	}
	if s.ids.Dict == nil || n < len(s.ids.Dict.Values) {
		dst.Codes = slices.Grow(dst.Codes, n)
		for r := range sel.Rows() {
			code, err := s.code(r)
			if err != nil {
				return err
			}
			dst.Codes = append(dst.Codes, code)
		}
		return nil
	}
	codes, err := s.codesByID()
	if err != nil {
		return err
	}
	readCodes(s.ids, sel, dst)
	for i, c := range dst.Codes {
		dst.Codes[i] = codes[c]
	}
	return nil
}

// codesByID returns the dictionary code of each entry of the dictionary of ids.
func (s *refSource) codesByID() ([]uint32, error) {
	out := make([]uint32, len(s.ids.Dict.Values))
	for i := range out {
		id := s.ids.Dict.Values[i].Num + uint64(s.base) //nolint:gosec // not negative
		if id >= uint64(len(s.col.codes)) {
			return nil, s.b.corrupt(fileSpans, fmt.Errorf("a span refers to resource or scope %d of %d", id, len(s.col.codes)))
		}
		out[i] = s.col.codes[id]
	}
	return out, nil
}

func readRows(src source, multi bool, sel *store.Bitmap, dst *store.Vector) error {
	for r := range sel.Rows() {
		n := len(dst.Values)
		var err error
		if dst.Values, err = src.append(dst.Values, r); err != nil {
			return err
		}
		if multi {
			dst.Offsets = append(dst.Offsets, uint32(len(dst.Values))) //nolint:gosec // values of a granule
		} else if len(dst.Values) == n {
			dst.Values = append(dst.Values, store.Value{})
		}
	}
	return nil
}
