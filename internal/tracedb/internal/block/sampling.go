package block

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/index"
)

// samplingName is the column of spans.parquet that tells, in blocks that were written anew after the recent window, that
// it was decided to keep the trace: the name of the policy, empty if none decided. Rows without a value are of traces
// about which nothing was decided, or the block's overlay says it.
const samplingName = "sampling_policy"

func samplingSpec() column.Spec {
	return column.Spec{Name: samplingName, Type: column.Text, Optional: true, Value: store.TypeString}
}

// The values of store.TraceDecision.
const (
	valueKept    = "kept"
	valueDropped = "dropped"
)

// sampling writes the column.
type sampling struct {
	decided func(spanid.TraceID) (policy string, kept bool) // nil if nothing was decided
	b       *column.Builder
	col     int // in the file, or -1
	policy  string
	kept    bool
	carry   uint32 // rows of the current trace that are in the next copied row group
}

func newSampling(decided func(spanid.TraceID) (string, bool)) sampling {
	return sampling{decided: decided, b: column.NewBuilder(samplingSpec()), col: -1}
}

// begin looks up a trace and counts it.
func (s *sampling) begin(w *Writer, id spanid.TraceID) {
	if s.decided == nil {
		return
	}
	if s.policy, s.kept = s.decided(id); s.kept {
		w.meta.Decided++
	}
}

func (s *sampling) row(r int) {
	if s.kept {
		s.b.AddText(r, s.policy)
	}
}

// write writes the column of a row group, if it has a value.
func (s *sampling) write(w *Writer, group int) error {
	if s.b.Len() == 0 {
		s.b.Reset()
		return nil
	}
	if s.col < 0 {
		s.col = w.spans.w.AddColumn(samplingSpec())
	}
	return w.spans.writeColumn(group, s.col, s.b)
}

// copySampling copies the column of a row group, or makes it for one that does not have it.
func (w *Writer) copySampling(c *copier, group int, traces []index.Trace) error {
	t := &c.tables[0]
	for i := range c.tables {
		if c.tables[i].from.num == fileSpans {
			t = &c.tables[i]
		}
	}
	if t.from.sampling >= 0 && !t.from.Empty(t.group, t.from.sampling) {
		if w.sampling.col < 0 {
			w.sampling.col = w.spans.w.AddColumn(samplingSpec())
		}
		if err := c.copyChunk(t, t.from.sampling, group, w.sampling.col); err != nil {
			return err
		}
		return w.countSampled(c, traces)
	}
	if w.sampling.decided == nil {
		return nil
	}
	s := &w.sampling
	row, rows := uint32(0), uint32(c.meta.Rows) //nolint:gosec // below 2^31
	put := func(n uint32) {
		for ; n > 0 && row < rows; n-- {
			s.row(int(row % store.GranuleRows))
			if row++; row%store.GranuleRows == 0 {
				s.b.EndGranule()
			}
		}
		s.carry = n
	}
	put(s.carry)
	for i := range traces {
		s.begin(w, traces[i].ID)
		put(traces[i].Spans)
	}
	if row != rows {
		return fmt.Errorf("%w: the traces have %d of %d rows", store.ErrInvalid, row, rows)
	}
	return s.write(w, group)
}

// countSampled counts the traces with a decision in a row group that has the column.
func (w *Writer) countSampled(c *copier, traces []index.Trace) error {
	for i := range traces {
		_, ok, err := c.src.SampledRow(int(traces[i].Row))
		if err != nil {
			return err
		}
		if ok {
			w.meta.Decided++
		}
	}
	return nil
}

// SampledRow returns the policy that decided to keep the trace of a row; ok is false if that is not known from the
// block's files.
func (b *Block) SampledRow(row int) (policy string, ok bool, err error) {
	defer b.contain(&err)
	g, err := b.granule(row / store.GranuleRows)
	if err != nil {
		return "", false, err
	}
	v, err := g.sampled()
	if err != nil || v == nil {
		return "", false, err
	}
	i := v.Index(row - g.row)
	if i < 0 {
		return "", false, nil
	}
	return v.Str(i), true, nil
}

// sampled returns the column in a granule, nil if it has no value there.
func (g *granule) sampled() (*column.Values, error) {
	if g.spans.sampling < 0 || g.spans.Empty(g.group, g.spans.sampling) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	return g.column(g.spans.sampling)
}

// decisions gives store.TraceDecision or store.TracePolicy: what the overlay says, else what the column does.
func (g *granule) decisions(name string) (source, error) {
	v, err := g.sampled()
	if err != nil {
		return nil, err
	}
	o := g.b.overlay
	var ids *column.Values
	if o != nil && len(o.Traces) > 0 {
		if ids, err = g.column(colTraceID); err != nil {
			return nil, err
		}
	}
	return funcSource(func(dst []store.Value, row int) ([]store.Value, error) {
		if ids != nil {
			if note, ok := o.Note(spanid.TraceID([]byte(ids.Str(row)))); ok && note.Flags&(Dropped|Kept) != 0 {
				decision := valueKept
				if note.Flags&Dropped != 0 {
					decision = valueDropped
				}
				return appendDecision(dst, name, decision, o.policy(note)), nil
			}
		}
		if v == nil {
			return dst, nil
		}
		if i := v.Index(row); i >= 0 {
			return appendDecision(dst, name, valueKept, v.Str(i)), nil
		}
		return dst, nil
	}), nil
}

func appendDecision(dst []store.Value, name, decision, policy string) []store.Value {
	if name == store.TraceDecision {
		return append(dst, store.String(decision))
	}
	if policy == "" {
		return dst
	}
	return append(dst, store.String(policy))
}

// policy returns the name of the policy of a note, empty if there is none.
func (o *Overlay) policy(n TraceNote) string {
	if n.Policy == NoPolicy {
		return ""
	}
	return o.Policies[n.Policy]
}

// mayBeDecided reports whether something may be decided about a trace of the block.
func (b *Block) mayBeDecided() bool {
	return b.meta.Decided > 0 || b.overlay != nil && len(b.overlay.Traces) > 0
}
