package block

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
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
	src, err := g.source(c)
	if err != nil {
		return err
	}
	if c.Multi() {
		dst.Offsets = append(dst.Offsets, 0)
	}
	for r := range sel.Rows() {
		if r >= g.rows {
			return fmt.Errorf("%w: row %d of granule %d in block %s", store.ErrInvalid, r, granule, b.meta.ID)
		}
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
		dst.Dict = s.col.dict
		for r := range sel.Rows() {
			code, err := s.code(r)
			if err != nil {
				return err
			}
			dst.Codes = append(dst.Codes, code)
		}
		return nil
	case intSource:
		for r := range sel.Rows() {
			dst.Ints = append(dst.Ints, s(r))
		}
		return nil
	}
	return readRows(src, c.Multi(), sel, dst)
}

func readColumn(s *columnSource, sel *store.Bitmap, dst *store.Vector) {
	switch {
	case s.ints:
		for r := range sel.Rows() {
			dst.Ints = append(dst.Ints, int64(s.v.Num(r))) //nolint:gosec // the bits
		}
	case s.v.Dict != nil:
		dst.Dict = s.v.Dict.Values
		for r := range sel.Rows() {
			code := store.NoCode
			if i := s.v.Index(r); i >= 0 {
				code = uint32(s.v.Codes[i])
			}
			dst.Codes = append(dst.Codes, code)
		}
	default:
		for r := range sel.Rows() {
			var v store.Value
			if i := s.v.Index(r); i >= 0 {
				v = s.v.Value(i)
			}
			dst.Values = append(dst.Values, v)
		}
	}
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
