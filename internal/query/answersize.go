package query

import (
	"fmt"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// answerCopies is how many forms of an answer exist at a time: rows, messages, text.
const answerCopies = 3

// takeAnswer counts an answer of about n bytes against the query's budget while it is being copied out of the view, so
// that no client can ask for an answer that does not fit into memory. The error wraps exec.ErrBudget.
func takeAnswer(budget *memlimit.Budget, n int64) (release func(), err error) {
	if !budget.TryAcquire(answerCopies * n) {
		return nil, fmt.Errorf("the answer has about %d MiB: ask for fewer traces, spans or series: %w", n>>20, exec.ErrBudget)
	}
	return func() { budget.Release(answerCopies * n) }, nil
}

// Bytes of the fixed parts of rows, about as many as they take in JSON.
const (
	traceRowSize  = 250
	spansetSize   = 50
	spanRowSize   = 120
	attrSize      = 50
	serviceSize   = 50
	seriesSize    = 100
	sampleSize    = 50
	exemplarsSize = 50
)

func searchSize(res *exec.SearchResult) int64 {
	n := 0
	for i := range res.Traces {
		t := &res.Traces[i]
		n += traceRowSize + len(t.RootName) + len(t.RootService)
		for name := range t.ServiceStats {
			n += serviceSize + len(name)
		}
		for k := range t.Spansets {
			s := &t.Spansets[k]
			n += spansetSize + attrsSize(s.Attrs)
			for j := range s.Spans {
				n += spanRowSize + len(s.Spans[j].Name) + attrsSize(s.Spans[j].Attrs)
			}
		}
	}
	return int64(n)
}

func metricsSize(res *exec.MetricsResult) int64 {
	n := 0
	for i := range res.Series {
		s := &res.Series[i]
		n += seriesSize + attrsSize(s.Labels) + sampleSize*len(s.Samples)
		for _, e := range s.Exemplars {
			n += exemplarsSize + attrsSize(e.Labels)
		}
	}
	return int64(n)
}

// partialSize is what the merged sums of a metrics query take.
func partialSize(p *exec.Partial) int64 {
	const number, counts = 8, 24 // Of a slice of counts its header; the counts themselves are few.
	n := 0
	for i := range p.Queries {
		for k := range p.Queries[i].Series {
			s := &p.Queries[i].Series[k]
			n += seriesSize + attrsSize(s.Labels) + number*(len(s.Count)+len(s.Sum)+len(s.Min)+len(s.Max)) + counts*len(s.Hist)
			for _, h := range s.Hist {
				n += 2 * number * len(h)
			}
			for j := range s.Exemplars {
				n += exemplarsSize + attrsSize(s.Exemplars[j].Labels)
			}
		}
	}
	return int64(n)
}

// splitSize is what lists of split traces take, and what joining them does.
func splitSize(parts []*exec.Partial) (n int64) {
	const trace, count = 320, 24
	for _, p := range parts {
		if p == nil {
			continue
		}
		for i := range p.Queries {
			for k := range p.Queries[i].Split {
				n += trace + count*int64(len(p.Queries[i].Split[k].Counts))
			}
		}
	}
	return n
}

func attrsSize(attrs []exec.Attr) int {
	n := 0
	for i := range attrs {
		n += attrSize + len(attrs[i].Key) + len(attrs[i].Value.S)
		for _, e := range attrs[i].Value.Elems {
			n += attrSize + len(e.S)
		}
	}
	return n
}
