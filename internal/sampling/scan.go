package sampling

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/spansize"
	"github.com/bramble-tracing/bramble/internal/store"
)

// scan reads the columns that policies need for some traces.
type scan struct {
	policies *Policies
	view     store.View
	parts    []store.Part // in which the traces that are not split are
	t        *traces
	visit    func(context.Context, *slab) error // what to do with rows; nil: evaluate the policies
}

// slab is some rows of a granule, with the traces that they belong to.
type slab struct {
	t       *traces
	part    store.Part
	granule int
	sel     store.Bitmap
	owner   [store.GranuleRows]int32 // of marked rows
	vec     store.Vector
	known   []int8          // outcome per code: 0 not known, 1 no, 2 yes
	values  map[string]bool // outcome per text
	lengths []int
}

// run reads all rows of the traces, granule by granule.
func (sc *scan) run(ctx context.Context) error {
	s := &slab{t: sc.t}
	for _, p := range sc.parts {
		info := p.Info()
		for g := range info.Granules() {
			if err := s.own(ctx, p, g, info.GranuleLen(g)); err != nil {
				return err
			}
			if err := sc.slab(ctx, s); err != nil {
				return fmt.Errorf("evaluate policies over %s: %w", info.ID, err)
			}
		}
	}
	if err := sc.fragments(ctx, s); err != nil {
		return err
	}
	sc.t.complete()
	return nil
}

// own marks the rows of a granule that belong to traces that are evaluated.
func (s *slab) own(ctx context.Context, p store.Part, granule, rows int) error {
	s.part, s.granule = p, granule
	s.sel.Fill(rows)
	if err := readIDs(ctx, p, granule, &s.sel, &s.vec); err != nil {
		return err
	}
	last, owner := "", int32(-1)
	for row := range rows {
		if text := s.vec.At(row).Str; row == 0 || text != last {
			id := parseShort(text)
			last, owner = text, s.t.find(&id)
		}
		if owner < 0 {
			s.sel.Clear(row)
		}
		s.owner[row] = owner
	}
	return nil
}

func readIDs(ctx context.Context, p store.Part, granule int, sel *store.Bitmap, v *store.Vector) error {
	if err := p.Read(ctx, granule, store.Intrinsic(store.SpanTraceID), sel, v); err != nil {
		return fmt.Errorf("read trace ids of %s: %w", p.Info().ID, err)
	}
	return nil
}

// appendIDs appends the trace ids of a column, those in a row once.
func appendIDs(dst []spanid.TraceID, v *store.Vector) []spanid.TraceID {
	last := ""
	for i := range v.Rows() {
		if text := v.At(i).Str; i == 0 || text != last {
			last = text
			dst = append(dst, parseShort(text))
		}
	}
	return dst
}

// parseShort reads the text form of the column trace:id: hex without leading zeros. The store wrote it, so nothing is
// checked.
func parseShort(s string) (id spanid.TraceID) {
	for i := range min(len(s), 2*len(id)) {
		c := s[len(s)-1-i]
		d := c - '0'
		if d > 9 {
			d = c - 'a' + 10
		}
		id[len(id)-1-i/2] |= d << (4 * (i % 2))
	}
	return id
}

// fragments reads what traces have in further parts.
func (sc *scan) fragments(ctx context.Context, s *slab) error {
	split := sc.view.Split()
	var ids []int
	if split.Len() > 0 {
		for i := range sc.t.ids {
			if split.Has(sc.t.ids[i]) {
				ids = append(ids, i)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	type owned struct {
		row   uint32
		owner int32
	}
	for _, p := range sc.view.Parts() {
		if contains(sc.parts, p) {
			continue
		}
		var rows []owned
		var found []uint32
		for _, i := range ids {
			var err error
			if found, err = p.TraceRows(ctx, sc.t.ids[i], found[:0]); err != nil {
				return fmt.Errorf("find trace %s in %s: %w", sc.t.ids[i], p.Info().ID, err)
			}
			for _, r := range found {
				rows = append(rows, owned{r, int32(i)}) //nolint:gosec // an index
			}
		}
		slices.SortFunc(rows, func(a, b owned) int { return int(a.row) - int(b.row) })
		for len(rows) > 0 {
			g := rows[0].row / store.GranuleRows
			s.part, s.granule, s.sel = p, int(g), store.Bitmap{}
			for len(rows) > 0 && rows[0].row/store.GranuleRows == g {
				at := rows[0].row % store.GranuleRows
				s.sel.Set(int(at))
				s.owner[at] = rows[0].owner
				rows = rows[1:]
			}
			if err := sc.slab(ctx, s); err != nil {
				return fmt.Errorf("evaluate policies over %s: %w", p.Info().ID, err)
			}
		}
	}
	return nil
}

// contains compares by id, so that a part is recognised behind what a view may have wrapped it in.
func contains(parts []store.Part, p store.Part) bool {
	return slices.ContainsFunc(parts, func(o store.Part) bool { return o == p || o.Info().ID == p.Info().ID })
}

// slab adds up the rows and lets the leaves mark traces.
func (sc *scan) slab(ctx context.Context, s *slab) error {
	if !s.sel.Any() {
		return nil
	}
	if sc.visit != nil {
		return sc.visit(ctx, s)
	}
	info := s.part.Info()
	each := float64(info.Bytes) / float64(max(1, info.Rows))
	for row := range s.sel.Rows() {
		s.t.spans[s.owner[row]]++
		s.t.disk[s.owner[row]] += each
	}
	if err := s.times(ctx, sc.policies); err != nil {
		return err
	}
	if sc.policies.needBytes {
		if err := s.sizes(ctx); err != nil {
			return err
		}
	}
	for n, l := range sc.policies.leaves {
		if l, ok := l.(scanner); ok {
			if err := l.scan(ctx, s, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *slab) times(ctx context.Context, p *Policies) error {
	if p.needStart {
		if err := s.part.Read(ctx, s.granule, store.Intrinsic(store.SpanStart), &s.sel, &s.vec); err != nil {
			return fmt.Errorf("read span starts: %w", err)
		}
		i := 0
		for row := range s.sel.Rows() {
			if t := s.vec.At(i).Int(); t != 0 {
				o := s.owner[row]
				s.t.start[o] = min(s.t.start[o], t)
			}
			i++
		}
	}
	if !p.needEnd {
		return nil
	}
	if err := s.part.Read(ctx, s.granule, store.Intrinsic(store.SpanEnd), &s.sel, &s.vec); err != nil {
		return fmt.Errorf("read span ends: %w", err)
	}
	i := 0
	for row := range s.sel.Rows() {
		o := s.owner[row]
		s.t.end[o] = max(s.t.end[o], s.vec.At(i).Int())
		i++
	}
	return nil
}

// tagAndLength are the bytes that stand before a span in OTLP, for spans of 128 to 16,383 bytes.
const tagAndLength = 3

// sizes adds up how large the spans are as OTLP.
func (s *slab) sizes(ctx context.Context) error {
	sizer, ok := s.part.(store.Sizer)
	if !ok {
		return s.sizesOfSpans(ctx)
	}
	sizes, err := sizer.Sizes(ctx, s.granule, &s.sel, s.lengths[:0])
	s.lengths = sizes
	if errors.Is(err, store.ErrUnsupported) {
		return s.sizesOfSpans(ctx)
	}
	if err != nil {
		return fmt.Errorf("read sizes of spans: %w", err)
	}
	i := 0
	for row := range s.sel.Rows() {
		s.t.bytes[s.owner[row]] += int64(sizes[i]) + tagAndLength
		i++
	}
	return nil
}

// sizesOfSpans decodes whole spans, a few at a time.
func (s *slab) sizesOfSpans(ctx context.Context) error {
	const some = 512
	var b store.Batch
	first := uint32(s.granule * store.GranuleRows) //nolint:gosec // rows of a part fit
	rows := make([]uint32, 0, s.sel.Count())
	for row := range s.sel.Rows() {
		rows = append(rows, first+uint32(row)) //nolint:gosec // rows of a granule
	}
	for chunk := range slices.Chunk(rows, some) {
		b.Reset()
		if err := s.part.Spans(ctx, chunk, &b); err != nil {
			return fmt.Errorf("read spans for their size: %w", err)
		}
		if len(b.Spans) != len(chunk) {
			return errors.New("read spans for their size: some are missing")
		}
		for i := range b.Spans {
			s.t.bytes[s.owner[chunk[i]-first]] += int64(spansize.Of(&b.Spans[i])) + tagAndLength
		}
	}
	return nil
}

// matchColumn marks the traces of rows with a value that matches. Values with codes are matched once per code; of
// others, remember texts are remembered.
func (s *slab) matchColumn(ctx context.Context, col store.Column, n, remember int, match func(store.Value) bool) error {
	v := &s.vec
	if err := s.part.Read(ctx, s.granule, col, &s.sel, v); err != nil {
		return fmt.Errorf("read column %s: %w", col.Name, err)
	}
	if len(v.Codes) > 0 {
		s.matchCodes(n, match)
		return nil
	}
	clear(s.values)
	i := -1
	for row := range s.sel.Rows() {
		i++
		x := v.At(i)
		if x.Type == store.TypeAbsent || s.t.marked(n, int(s.owner[row])) {
			continue
		}
		if s.matchRemembered(x, remember, match) {
			s.t.mark(n, s.owner[row])
		}
	}
	return nil
}

func (s *slab) matchRemembered(v store.Value, remember int, match func(store.Value) bool) bool {
	if remember == 0 || v.Type != store.TypeString {
		return match(v)
	}
	if yes, ok := s.values[v.Str]; ok {
		return yes
	}
	if s.values == nil || len(s.values) >= remember {
		s.values = make(map[string]bool, min(remember, 1024))
	}
	yes := match(v)
	s.values[v.Str] = yes
	return yes
}

func (s *slab) matchCodes(n int, match func(store.Value) bool) {
	s.known = append(s.known[:0], make([]int8, len(s.vec.Dict))...)
	i := -1
	for row := range s.sel.Rows() {
		i++
		code := s.vec.Codes[i]
		if code == store.NoCode {
			continue
		}
		if s.known[code] == 0 {
			s.known[code] = 1
			if match(s.vec.Dict[code]) {
				s.known[code] = 2
			}
		}
		if s.known[code] == 2 {
			s.t.mark(n, s.owner[row])
		}
	}
}
