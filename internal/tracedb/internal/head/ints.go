package head

import (
	"math/bits"

	"github.com/bramble-tracing/bramble/internal/store"
)

// intColumn is a numeric intrinsic, which every span has.
type intColumn interface {
	// at returns the number of a row.
	at(row int) int64
	// read appends the numbers of marked rows, counted from row lo on.
	read(lo uint32, sel *store.Bitmap, dst []int64) []int64
	// within keeps the marked rows, counted from row lo on and all below hi, whose number lies from to to, both included; if in
	// is false those whose number does not.
	within(lo, hi uint32, from, to int64, in bool, sel *store.Bitmap)
}

// ints returns a numeric intrinsic, nil if the column is not one.
func (p *Part) ints(name string) intColumn {
	h := p.h
	switch name {
	case store.SpanKind:
		return numbers[int32](h.kind.view())
	case store.SpanStatus:
		return numbers[int32](h.status.view())
	case store.SpanFlags:
		return numbers[uint32](h.flags.view())
	case store.SpanStart:
		return numbers[uint64](h.start.view())
	case store.SpanEnd:
		return numbers[uint64](h.end.view())
	case store.SpanDuration:
		return durations{h.start.view(), h.end.view()}
	case store.ResourceRef:
		return numbers[uint32](h.resource.view())
	}
	return nil
}

// numbers is the directory of a column.
type numbers[T int32 | uint32 | uint64] [][]T

func (d numbers[T]) at(row int) int64 { return int64(get(d, row)) }

func (d numbers[T]) read(lo uint32, sel *store.Bitmap, dst []int64) []int64 {
	for w := range store.Words {
		marks := sel.Word(w)
		if marks == 0 {
			continue
		}
		row := int(lo) + w<<6 // The 64 rows are in one chunk.
		values := d[row>>chunkShift][row&chunkMask:]
		for ; marks != 0; marks &= marks - 1 {
			dst = append(dst, int64(values[bits.TrailingZeros64(marks)]))
		}
	}
	return dst
}

func (d numbers[T]) within(lo, hi uint32, from, to int64, in bool, sel *store.Bitmap) {
	base, width := uint64(from), uint64(to)-uint64(from)
	for w := range store.Words {
		marks := sel.Word(w)
		if marks == 0 {
			continue
		}
		row := int(lo) + w<<6 // The 64 rows are in one chunk. Those from hi on are being written.
		values := d[row>>chunkShift][row&chunkMask:]
		values = values[:min(64, len(values), int(hi)-row)]
		var match uint64
		const few = 8
		if bits.OnesCount64(marks) <= few {
			for rest := marks; rest != 0; rest &= rest - 1 {
				i := bits.TrailingZeros64(rest)
				match |= oneIf(uint64(int64(values[i]))-base <= width) << i
			}
		} else {
			for i, v := range values {
				match |= oneIf(uint64(int64(v))-base <= width) << i
			}
		}
		if !in {
			match = ^match
		}
		sel.SetWord(w, marks&match)
	}
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// durations are computed.
type durations struct{ start, end [][]uint64 }

func (d durations) at(row int) int64 { return durationOf(get(d.start, row), get(d.end, row)) }

func (d durations) read(lo uint32, sel *store.Bitmap, dst []int64) []int64 {
	for i := range sel.Rows() {
		dst = append(dst, d.at(int(lo)+i))
	}
	return dst
}

func (d durations) within(lo, _ uint32, from, to int64, in bool, sel *store.Bitmap) {
	for i := range sel.Rows() {
		if v := d.at(int(lo) + i); (from <= v && v <= to) != in {
			sel.Clear(i)
		}
	}
}

// durationOf is 0 when the client's clock ran backwards.
func durationOf(start, end uint64) int64 {
	if end < start {
		return 0
	}
	return int64(end - start)
}

// filterInts compares numeric intrinsics.
func (p *Part) filterInts(pred *store.Predicate, lo, hi uint32, sel *store.Bitmap) {
	column := p.ints(pred.Column.Name)
	if from, to, in, ok := intRange(pred); ok {
		column.within(lo, hi, from, to, in, sel)
		return
	}
	m := matcher{p: pred}
	for i := range sel.Rows() {
		if !m.match(store.Int(column.at(int(lo) + i))) {
			sel.Clear(i)
		}
	}
}
