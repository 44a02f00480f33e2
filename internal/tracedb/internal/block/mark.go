package block

import (
	"slices"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// markTexts marks the rows that match an expression. Most have nothing to do with it, which one look at the text of the
// whole granule tells.
func markTexts(v *column.Values, p *store.Predicate, keep *store.Bitmap) {
	var found []int
	for i := range v.Containing(p.Literal) {
		if p.Regex.MatchString(v.Text(i)) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return
	}
	for row, i := range v.All() {
		if i == found[0] {
			keep.Set(row)
			if found = found[1:]; len(found) == 0 {
				return
			}
		}
	}
}

// present marks the rows that have a value.
func present(v *column.Values, keep *store.Bitmap) {
	if v.Present == nil {
		keep.Fill(v.Rows)
		return
	}
	for w := range store.Words {
		marks, _ := v.Present.Word(w)
		keep.SetWord(w, marks)
	}
}

// markCodes marks the rows whose dictionary code matches.
func markCodes(v *column.Values, match []bool, keep *store.Bitmap) {
	if !slices.Contains(match, true) {
		return
	}
	codes := v.Codes
	if v.Present == nil {
		for w := 0; len(codes) > 0; w++ {
			n := min(64, len(codes))
			var marks uint64
			for i, c := range codes[:n] {
				if match[c] {
					marks |= 1 << i
				}
			}
			keep.SetWord(w, marks)
			codes = codes[n:]
		}
		return
	}
	i := 0
	for w := range store.Words {
		has, _ := v.Present.Word(w)
		var marks uint64
		for ; has != 0; has &= has - 1 {
			if match[codes[i]] {
				marks |= has & -has
			}
			i++
		}
		keep.SetWord(w, marks)
	}
}

// markRange marks the rows whose number is in a range.
func markRange(v *column.Values, lo, hi int64, keep *store.Bitmap) {
	width := uint64(hi) - uint64(lo) //nolint:gosec // the distance, whatever the signs
	if hi < lo {
		return
	}
	nums := v.Nums
	if v.Present == nil {
		for w := 0; len(nums) > 0; w++ {
			n := min(64, len(nums))
			var marks uint64
			for i, num := range nums[:n] {
				if num-uint64(lo) <= width { //nolint:gosec // the bits
					marks |= 1 << i
				}
			}
			keep.SetWord(w, marks)
			nums = nums[n:]
		}
		return
	}
	i := 0
	for w := range store.Words {
		has, _ := v.Present.Word(w)
		var marks uint64
		for ; has != 0; has &= has - 1 {
			if nums[i]-uint64(lo) <= width { //nolint:gosec // the bits
				marks |= has & -has
			}
			i++
		}
		keep.SetWord(w, marks)
	}
}
