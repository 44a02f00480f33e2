package block

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// firstDeferred is the first of the columns that tell a span's place in its trace. They are known when the trace is
// complete, which can be long after its first row group has been written; their chunks then follow later in the file.
const firstDeferred = colParentID

// structure collects the deferred columns.
type structure struct {
	table    *table
	placer   placer
	members  []member // of the open trace
	builders []*column.Builder
	row      int // in the granule
	rows     int // in the row group
	groups   []pendingGroup
}

type pendingGroup struct{ num, rows int }

func newStructure(t *table) *structure {
	return &structure{table: t, builders: t.fixed[firstDeferred:]}
}

// member adds a span of the open trace.
func (s *structure) member(span *store.Span) {
	s.members = append(s.members, member{id: span.SpanID, parent: span.ParentID, kind: span.Kind})
}

// endGroup says that a row group has been written without the deferred columns.
func (s *structure) endGroup(num int) {
	rows := 0
	for _, n := range s.table.w.GroupRows(num) {
		rows += n
	}
	s.groups = append(s.groups, pendingGroup{num, rows})
}

// endTrace numbers the open trace and adds its rows.
func (s *structure) endTrace() error {
	places := s.placer.number(s.members)
	for i := range places {
		if err := s.flush(); err != nil {
			return err
		}
		s.add(i, &places[i], s.members[i].parent)
	}
	s.members = s.members[:0]
	return s.flush()
}

func (s *structure) add(i int, p *place, parent spanid.SpanID) {
	at := func(col int) *column.Builder { return s.builders[col-firstDeferred] }
	at(colNestedLeft).AddNum(s.row, uint64(p.left))   //nolint:gosec // not negative
	at(colNestedRight).AddNum(s.row, uint64(p.right)) //nolint:gosec // not negative
	if p.parent != noSpan {
		at(colParentRow).AddNum(s.row, uint64(int64(int(p.parent)-i))) //nolint:gosec // the bits
	}
	// The id is kept only if the parent's row does not tell it: for orphans, for the second of two spans that share an
	// id, and as zeros for a root that is the server's side of such a pair.
	if p.parent == noSpan && !parent.IsZero() || p.parent != noSpan && s.members[p.parent].id != parent {
		at(colParentID).AddBytes(s.row, parent[:])
	}
	s.row++
	s.rows++
	if s.row == store.GranuleRows {
		s.endGranule()
	}
}

func (s *structure) endGranule() {
	for _, b := range s.builders {
		b.EndGranule()
	}
	s.row = 0
}

// flush writes the first waiting row group if all of its rows are there.
func (s *structure) flush() error {
	if len(s.groups) == 0 || s.rows < s.groups[0].rows {
		return nil
	}
	if s.row > 0 { // only in the last row group
		s.endGranule()
	}
	t, g := s.table, s.groups[0].num
	for i, b := range s.builders {
		if err := t.writeColumn(g, t.fixedNum[firstDeferred+i], b); err != nil {
			return fmt.Errorf("structure of row group %d: %w", g, err)
		}
	}
	s.rows, s.groups = 0, s.groups[1:]
	return nil
}
