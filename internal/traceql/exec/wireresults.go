package exec

import (
	"github.com/bramble-tracing/bramble/internal/spanid"
)

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (p *Partial) AppendBinary(dst []byte) ([]byte, error) {
	w := wireWriter{append(dst, wireVersion)}
	w.int(p.Timeline.Start)
	w.int(p.Timeline.Step)
	w.len(p.Timeline.N)
	w.bool(p.Timeline.Instant)
	w.stats(&p.Stats)
	w.len(len(p.Queries))
	for i := range p.Queries {
		w.len(len(p.Queries[i].Series))
		for k := range p.Queries[i].Series {
			w.series(&p.Queries[i].Series[k])
		}
		w.split(p.Queries[i].Split)
	}
	return w.b, nil
}

// MarshalBinary implements encoding.BinaryMarshaler. It never fails.
func (p *Partial) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

func (w *wireWriter) series(s *PartialSeries) {
	w.attrs(s.Labels)
	w.floats(s.Count)
	w.floats(s.Sum)
	w.floats(s.Min)
	w.floats(s.Max)
	w.len(len(s.Hist))
	for _, h := range s.Hist {
		w.len(len(h))
		for _, c := range h {
			w.b = append(w.b, c.Exp)
			w.float(c.Count)
		}
	}
	w.len(len(s.Exemplars))
	for _, e := range s.Exemplars {
		w.attrs(e.Labels)
		w.int(e.Millis)
		w.float(e.Value)
		w.bool(e.HasValue)
	}
	w.bool(s.Truncated)
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The error wraps ErrWire; p is not to be used then. Nothing of
// data is kept.
func (p *Partial) UnmarshalBinary(data []byte) error {
	const what = "partial result of metrics"
	r := wireReader{b: data}
	if err := r.version(what); err != nil {
		return err
	}
	*p = Partial{}
	p.Timeline.Start, p.Timeline.Step = r.int(), r.int()
	n := r.uint()
	if n > maxPoints {
		r.fail()
		n = 0
	}
	p.Timeline.N = int(n) //nolint:gosec // checked
	p.Timeline.Instant = r.bool()
	p.Stats = r.stats()
	for range r.len(1) {
		q := QueryPartial{}
		for range r.len(8) {
			if r.err != nil {
				break
			}
			q.Series = append(q.Series, r.series(p.Timeline.N))
		}
		q.Split = r.split(p.Timeline.N)
		p.Queries = append(p.Queries, q)
	}
	return r.end(what)
}

func (r *wireReader) series(n int) PartialSeries {
	s := PartialSeries{Labels: r.attrs(), Count: r.floats(n), Sum: r.floats(n), Min: r.floats(n), Max: r.floats(n)}
	if k := r.len(1); k > 0 {
		if r.points += 3 * k; k != n || r.points > maxWirePoints {
			r.fail()
			return s
		}
		s.Hist = make([][]HistCount, n)
		for i := range s.Hist {
			for range r.len(9) {
				s.Hist[i] = append(s.Hist[i], HistCount{r.byte(), r.float()})
			}
		}
	}
	for range r.len(4) {
		s.Exemplars = append(s.Exemplars, Exemplar{Labels: r.attrs(), Millis: r.int(), Value: r.float(), HasValue: r.bool()})
	}
	s.Truncated = r.bool()
	return s
}

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (res *SearchResult) AppendBinary(dst []byte) ([]byte, error) {
	w := wireWriter{append(dst, wireVersion)}
	w.stats(&res.Stats)
	w.len(len(res.Traces))
	for i := range res.Traces {
		w.trace(&res.Traces[i])
	}
	return w.b, nil
}

// MarshalBinary implements encoding.BinaryMarshaler. It never fails.
func (res *SearchResult) MarshalBinary() ([]byte, error) { return res.AppendBinary(nil) }

func (w *wireWriter) trace(t *TraceRow) {
	w.b = append(w.b, t.ID[:]...)
	w.text(t.RootService)
	w.text(t.RootName)
	w.uint(t.StartNano)
	w.uint(t.DurationNano)
	w.len(len(t.Spansets))
	for i := range t.Spansets {
		s := &t.Spansets[i]
		w.len(len(s.Spans))
		for k := range s.Spans {
			span := &s.Spans[k]
			w.b = append(w.b, span.ID[:]...)
			w.text(span.Name)
			w.uint(span.StartNano)
			w.uint(span.DurationNano)
			w.attrs(span.Attrs)
		}
		w.len(s.Matched)
		w.attrs(s.Attrs)
	}
	w.bool(t.ServiceStats != nil)
	w.len(len(t.ServiceStats))
	for name, n := range t.ServiceStats {
		w.text(name)
		w.len(n.SpanCount)
		w.len(n.ErrorCount)
	}
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The error wraps ErrWire; res is not to be used then. Nothing of
// data is kept.
func (res *SearchResult) UnmarshalBinary(data []byte) error {
	const what = "result of a search"
	r := wireReader{b: data}
	if err := r.version(what); err != nil {
		return err
	}
	*res = SearchResult{Stats: r.stats()}
	for range r.len(len(spanid.TraceID{}) + 7) {
		if r.err != nil {
			break
		}
		res.Traces = append(res.Traces, r.trace())
	}
	return r.end(what)
}

// id reads the bytes of an id.
func (r *wireReader) id(dst []byte) {
	if len(r.b) < len(dst) {
		r.fail()
		return
	}
	r.b = r.b[copy(dst, r.b):]
}

func (r *wireReader) trace() (t TraceRow) {
	r.id(t.ID[:])
	t.RootService, t.RootName, t.StartNano, t.DurationNano = r.text(), r.text(), r.uint(), r.uint()
	for range r.len(3) {
		s := SpansetRow{}
		for range r.len(len(spanid.SpanID{}) + 4) {
			span := SpanRow{}
			r.id(span.ID[:])
			span.Name, span.StartNano, span.DurationNano, span.Attrs = r.text(), r.uint(), r.uint(), r.attrs()
			s.Spans = append(s.Spans, span)
		}
		s.Matched = int(r.uint()) //nolint:gosec // a count
		s.Attrs = r.attrs()
		t.Spansets = append(t.Spansets, s)
	}
	counted := r.bool()
	n := r.len(3)
	if counted {
		t.ServiceStats = make(map[string]ServiceStats, n)
	}
	for range n {
		name := r.text()
		st := ServiceStats{int(r.uint()), int(r.uint())} //nolint:gosec // counts
		if counted {
			t.ServiceStats[name] = st
		}
	}
	return t
}
