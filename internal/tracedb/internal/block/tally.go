package block

import (
	"cmp"
	"slices"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// maxRoots is how many different roots of traces are counted in a row group.
const maxRoots = 4096

// tallies counts, per row group, how many spans have each value, for counts.idx. What is counted by trace is known when
// the last trace of a row group has ended, so that sections are finished late.
type tallies struct {
	enc      *index.CountsEncoder
	tallier  *column.Tallier
	sections [][]byte // of the row groups, empty if not known
	pending  []*tally // row groups that have ended
	current  *tally
	errors   []bool // per span of the current row group
	trace    talliedTrace
}

// tally is what is counted in a row group.
type tally struct {
	section int
	unknown bool
	counts  index.Counts
	roots   map[rootKey]*store.SpanCount
}

type rootKey struct{ name, service string }

// talliedTrace is the trace being written: its root so far, and its spans by row group.
type talliedTrace struct {
	root  rootKey
	known bool
	start int64
	id    spanid.SpanID
	parts []talliedPart
}

type talliedPart struct {
	tally *tally
	store.SpanCount
}

func newTallies() (*tallies, error) {
	enc, err := index.NewCountsEncoder()
	if err != nil {
		return nil, err
	}
	return &tallies{enc: enc, tallier: column.NewTallier(), current: newTally()}, nil
}

func newTally() *tally { return &tally{roots: map[rootKey]*store.SpanCount{}} }

// span counts a span of the trace being written.
func (t *tallies) span(s *store.Span, service string) {
	failed := s.StatusCode == store.StatusError
	t.errors = append(t.errors, failed)
	r := &t.trace
	if n := len(r.parts); n == 0 || r.parts[n-1].tally != t.current {
		r.parts = append(r.parts, talliedPart{tally: t.current})
	}
	r.parts[len(r.parts)-1].Add(failed)
	if !s.ParentID.IsZero() {
		return
	}
	start := int64(s.StartNano) //nolint:gosec // As columns of times have it.
	if !r.known || start > r.start || start == r.start && string(s.SpanID[:]) > string(r.id[:]) {
		r.known, r.start, r.id, r.root = true, start, s.SpanID, rootKey{s.Name, service}
	}
}

// tallied are the fixed columns that are counted. Those with the numbers of resources and scopes stand for all of their
// properties.
var tallied = map[string]map[int]string{
	SpansFile: {
		colName: store.SpanName, colKind: store.SpanKind, colStatus: store.SpanStatus, colStatusMessage: store.SpanStatusMessage,
		colResource: refResource, colScope: refScope,
	},
	EventsFile: {colEventName: store.EventName},
	LinksFile:  {},
}

// Names of the columns in counts.idx that have the numbers of resources and scopes.
const (
	refResource = "resource_id"
	refScope    = "scope_id"
)

// rows describes the rows of the row group of a table, from whose columns nothing is written yet.
func (t *tallies) rows(tab *table) *column.TallyRows {
	out := &column.TallyRows{Errors: t.errors}
	at := 0
	for _, n := range tab.granules {
		out.Starts = append(out.Starts, at)
		at += n
	}
	if tab.out.name != SpansFile {
		owner := tab.fixed[0] // colEventRow and colLinkRow
		for i := range owner.Len() {
			out.Owner = append(out.Owner, uint32(owner.Num(i))) //nolint:gosec // a row of a row group
		}
	}
	return out
}

// table counts the columns of a table at the end of a row group, before they are written.
func (t *tallies) table(tab *table) {
	if len(tab.overflow) > 0 {
		t.current.unknown = true
	}
	if t.current.unknown {
		return
	}
	rows := t.rows(tab)
	for num, name := range tallied[tab.out.name] {
		if tab.fixed[num].Len() == 0 {
			continue // There are no events.
		}
		t.column(tab.fixed[num], rows, store.Intrinsic(name), store.TypeInt)
	}
	for _, c := range tab.columns {
		if c.builder.Len() == 0 {
			continue
		}
		if rows.Owner != nil && tab.severalTypes(c) {
			// Which value of a span is the first cannot be told from one column.
			t.current.counts.Columns = append(t.current.counts.Columns, index.ColumnCounts{Column: store.Column{Scope: c.scope, Name: c.key}, Type: c.typ, Unknown: true})
			continue
		}
		t.column(c.builder, rows, store.Column{Scope: c.scope, Name: c.key}, c.typ)
	}
}

// severalTypes reports whether the key of a column has values of other types in the row group.
func (t *table) severalTypes(c *attrColumn) bool {
	for _, o := range t.attrs[c.attrID].columns {
		if o != nil && o != c && o.builder.Len() > 0 {
			return true
		}
	}
	return false
}

func (t *tallies) column(b *column.Builder, rows *column.TallyRows, c store.Column, typ store.ValueType) {
	got := t.tallier.Tally(b, rows)
	if b.Spec().Value != store.TypeAbsent {
		typ = b.Spec().Value
	}
	out := index.ColumnCounts{Column: c, Type: typ, Coded: got.Coded, Sum: got.Sum, Max: got.Max, Unknown: got.Unknown}
	out.Values = append(out.Values, got.Values...)
	out.Counts = append(out.Counts, got.Counts...)
	if !got.Listed && c.Scope == store.ScopeIntrinsic && (c.Name == refResource || c.Name == refScope) {
		t.current.unknown = true
	}
	t.current.counts.Columns = append(t.current.counts.Columns, out)
}

// endGroup ends a row group whose tables were counted.
func (t *tallies) endGroup() {
	t.current.section = len(t.sections)
	t.sections = append(t.sections, nil)
	t.pending = append(t.pending, t.current)
	t.current = newTally()
	t.errors = t.errors[:0]
}

// endTrace adds the trace to the row groups that it is in.
func (t *tallies) endTrace() {
	for _, p := range t.trace.parts {
		p.tally.addRoot(t.trace.root, p.SpanCount)
	}
	t.trace = talliedTrace{parts: t.trace.parts[:0]}
	t.finish()
}

func (t *tally) addRoot(k rootKey, n store.SpanCount) {
	c := t.roots[k]
	if c == nil {
		if len(t.roots) >= maxRoots {
			t.counts.NoRoots = true
			return
		}
		c = &store.SpanCount{}
		t.roots[k] = c
	}
	c.Spans += n.Spans
	c.Errors += n.Errors
}

// finish makes the sections of the row groups that have ended. No trace that has spans in them may be open.
func (t *tallies) finish() {
	for _, p := range t.pending {
		if p.unknown {
			continue
		}
		if !p.counts.NoRoots {
			for k, n := range p.roots {
				p.counts.Roots = append(p.counts.Roots, store.RootCount{Name: k.name, Service: k.service, SpanCount: *n})
			}
			slices.SortFunc(p.counts.Roots, func(a, b store.RootCount) int {
				return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Service, b.Service))
			})
		}
		t.sections[p.section] = t.enc.Encode(&p.counts)
	}
	t.pending = t.pending[:0]
}

// copied adds the row group of another block, whose counts are the same.
func (t *tallies) copied(src *Block, group int) error {
	sections, err := src.countSections()
	if err != nil {
		return err
	}
	var section []byte
	if sections != nil {
		section = sections[group]
	}
	t.sections = append(t.sections, section)
	return nil
}
