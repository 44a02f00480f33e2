package piiprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/bramble-tracing/bramble/internal/pii"
)

// otMember is the list member of OpenTelemetry in tracestate. It holds the sampling threshold, so it is never touched.
const otMember = "ot"

// traceState removes the list members (W3C Trace Context, section 3.3.1) in which something is found.
func (w *walker) traceState(ts pcommon.TraceState) {
	raw := ts.AsRaw()
	if strings.HasPrefix(raw, otMember+"=") && !strings.Contains(raw, ",") {
		return
	}
	var keep []string
	changed := false
	for member := range strings.SplitSeq(raw, ",") {
		if w.memberFound(member) {
			changed = true
			continue
		}
		keep = append(keep, member)
	}
	if changed {
		ts.FromRaw(strings.Join(keep, ","))
	}
}

// memberFound reports whether a list member is to be removed.
func (w *walker) memberFound(member string) bool {
	name, value, ok := strings.Cut(strings.TrimSpace(member), "=")
	if ok && name == otMember {
		return false
	}
	verdict := pii.Keep
	if ok {
		_, verdict = w.sc.Value(pii.PlaceTraceState, w.sc.Key(name), value)
	}
	if verdict == pii.Keep {
		_, verdict = w.sc.Text(pii.PlaceTraceState, member)
	}
	return verdict != pii.Keep && w.found(pii.PlaceTraceState, verdict)
}
