package piiprocessor

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// walker applies rules to batches. It belongs to one batch at a time and keeps its buffers between them.
type walker struct {
	p       *piiProcessor
	sc      *pii.Scanner
	infos   []pii.RuleInfo
	enforce bool
	// statements is the index of the rule of that name, if it is on.
	statements int

	// Of the span, resource or scope that is being walked.
	touched  uint64 // rules that changed something
	dropSpan bool   // a rule wants the span removed

	// The last statement of the span that was changed, and what is left of it: names and messages repeat statements.
	statementIn, statementOut string

	// Of the batch.
	tally   tally
	changed int64
	dropped int64
	deep    int64
}

func newWalker(p *piiProcessor, rules *pii.Rules) *walker {
	w := &walker{p: p, sc: rules.NewScanner(), infos: rules.List(), enforce: p.config.Mode == modeEnforce}
	w.statements = slices.IndexFunc(w.infos, func(r pii.RuleInfo) bool { return r.Name == "statements" })
	return w
}

// traces walks a batch and reports whether spans were removed.
func (w *walker) traces(ctx context.Context, td ptrace.Traces) bool {
	w.changed, w.dropped, w.deep = 0, 0, 0
	resources := td.ResourceSpans()
	emptied := false
	for i := range resources.Len() {
		emptied = w.resource(ctx, resources.At(i)) || emptied
	}
	if emptied {
		resources.RemoveIf(func(rs ptrace.ResourceSpans) bool { return rs.ScopeSpans().Len() == 0 })
	}
	w.report(ctx)
	return w.dropped > 0
}

// resource walks a resource once and then its spans. It reports whether all spans were removed.
func (w *walker) resource(ctx context.Context, rs ptrace.ResourceSpans) (emptied bool) {
	w.touched, w.dropSpan = 0, false
	w.attributes(pii.PlaceResource, rs.Resource().Attributes(), nil, 0)
	if s, ok := w.text(pii.PlaceResource, rs.SchemaUrl()); ok {
		rs.SetSchemaUrl(s)
	}
	w.entities(entity.ResourceEntityRefs(rs.Resource()))
	scopes := rs.ScopeSpans()
	if w.dropSpan && w.enforce {
		for i := range scopes.Len() {
			w.dropped += int64(scopes.At(i).Spans().Len())
		}
		emptied = scopes.Len() > 0
		scopes.RemoveIf(func(ptrace.ScopeSpans) bool { return true })
	}
	lost := false
	for i := range scopes.Len() {
		lost = w.scope(scopes.At(i)) || lost
	}
	if lost {
		scopes.RemoveIf(func(ss ptrace.ScopeSpans) bool { return ss.Spans().Len() == 0 })
		emptied = scopes.Len() == 0
	}
	if w.tally.any() {
		w.flush(ctx, rs.Resource())
	}
	return emptied
}

// entities judges the entity references of a resource: types, and keys of attributes.
func (w *walker) entities(refs entity.EntityRefSlice) {
	for i := range refs.Len() {
		ref := refs.At(i)
		if s, ok := w.text(pii.PlaceResource, ref.SchemaUrl()); ok {
			ref.SetSchemaUrl(s)
		}
		if s, ok := w.text(pii.PlaceResource, ref.Type()); ok {
			ref.SetType(s)
		}
		for _, keys := range []pcommon.StringSlice{ref.IdKeys(), ref.DescriptionKeys()} {
			for j := range keys.Len() {
				if s, ok := w.text(pii.PlaceResource, keys.At(j)); ok {
					keys.SetAt(j, s)
				}
			}
		}
	}
}

// scope walks a scope and its spans, and reports whether all of them were removed.
func (w *walker) scope(ss ptrace.ScopeSpans) (emptied bool) {
	w.touched, w.dropSpan = 0, false
	scope := ss.Scope()
	w.attributes(pii.PlaceScope, scope.Attributes(), nil, 0)
	if s, ok := w.text(pii.PlaceScope, scope.Name()); ok {
		scope.SetName(s)
	}
	if s, ok := w.text(pii.PlaceScope, scope.Version()); ok {
		scope.SetVersion(s)
	}
	if s, ok := w.text(pii.PlaceScope, ss.SchemaUrl()); ok {
		ss.SetSchemaUrl(s)
	}
	spans := ss.Spans()
	before := spans.Len()
	if w.dropSpan && w.enforce {
		spans.RemoveIf(func(ptrace.Span) bool { return true })
	}
	drops := false
	for i := range spans.Len() {
		if drops = w.span(spans.At(i)); drops {
			// From here on in one go, so that each span is walked once.
			first := i
			n := -1
			spans.RemoveIf(func(s ptrace.Span) bool {
				n++
				return n == first || n > first && w.span(s)
			})
			break
		}
	}
	after := spans.Len()
	w.dropped += int64(before - after)
	return before > 0 && after == 0
}

// span walks a span and reports whether it is to be removed.
func (w *walker) span(s ptrace.Span) (remove bool) {
	w.touched, w.dropSpan, w.statementIn = 0, false, ""
	w.attributes(pii.PlaceSpan, s.Attributes(), nil, 0)
	if t, ok := w.repeated(pii.PlaceSpanName, s.Name()); ok {
		s.SetName(t)
	}
	if t, ok := w.text(pii.PlaceSpanName, s.Name()); ok {
		s.SetName(t)
	}
	if m := s.Status().Message(); m != "" {
		if t, ok := w.repeated(pii.PlaceStatus, m); ok {
			s.Status().SetMessage(t)
			m = t
		}
		if t, ok := w.text(pii.PlaceStatus, m); ok {
			s.Status().SetMessage(t)
		}
	}
	if ts := s.TraceState(); ts.AsRaw() != "" {
		w.traceState(ts)
	}
	events := s.Events()
	for i := range events.Len() {
		e := events.At(i)
		w.attributes(pii.PlaceEvent, e.Attributes(), nil, 0)
		if t, ok := w.text(pii.PlaceEventName, e.Name()); ok {
			e.SetName(t)
		}
	}
	links := s.Links()
	for i := range links.Len() {
		l := links.At(i)
		w.attributes(pii.PlaceLink, l.Attributes(), nil, 0)
		if ts := l.TraceState(); ts.AsRaw() != "" {
			w.traceState(ts)
		}
	}
	if w.touched != 0 {
		w.changed++
		if w.p.config.MarkSpans && !w.dropSpan {
			w.mark(s.Attributes())
		}
	}
	return w.dropSpan && w.enforce
}

// text judges a text that is no attribute. ok is true if it is to be replaced. Where an attribute would be dropped, the
// text is replaced by the rule's fixed one.
func (w *walker) text(place pii.Place, s string) (string, bool) {
	out, verdict := w.sc.Text(place, s)
	if verdict == pii.Keep {
		return s, false
	}
	return out, w.found(place, verdict)
}

// minRepeated is the length from which on a statement is looked for in names and messages.
const minRepeated = 8

// repeated replaces the span's statement where a name or message repeats it.
func (w *walker) repeated(place pii.Place, s string) (string, bool) {
	if len(w.statementIn) < minRepeated || !strings.Contains(s, w.statementIn) {
		return s, false
	}
	w.tally.add(pii.Hit{Rule: w.statements, Count: 1}, place)
	if !w.enforce {
		return s, false
	}
	w.touched |= 1 << w.statements
	return strings.ReplaceAll(s, w.statementIn, w.statementOut), true
}

// found notes the scanner's hits, and reports whether the field is to be changed.
func (w *walker) found(place pii.Place, verdict pii.Verdict) bool {
	for _, h := range w.sc.Hits() {
		w.tally.add(h, place)
		if w.enforce {
			w.touched |= 1 << h.Rule
		}
	}
	if verdict == pii.DropSpan {
		w.dropSpan = true
	}
	return w.enforce
}

// mark lists the rules that changed a span.
func (w *walker) mark(attrs pcommon.Map) {
	list := attrs.PutEmptySlice(pii.RedactedMarker)
	for i := range w.infos {
		if w.touched&(1<<i) != 0 {
			list.AppendEmpty().SetStr(w.infos[i].Name)
		}
	}
}
