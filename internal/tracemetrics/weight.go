package tracemetrics

import (
	"strconv"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
)

// maxWeight bounds what one span may stand for, so that a client's nonsense cannot ruin a counter for good.
const maxWeight = 1 << 32

// ratioWeight is 1/r for the ratio in an attribute, and 1 if it is not a ratio (N-06).
func ratioWeight(v *store.Value) float64 {
	if v == nil {
		return 1
	}
	var r float64
	switch v.Type {
	case store.TypeFloat:
		r = v.Float()
	case store.TypeInt:
		r = float64(v.Int())
	case store.TypeString:
		f, err := strconv.ParseFloat(v.Str, 64)
		if err != nil {
			return 1
		}
		r = f
	}
	if !(r > 0 && r <= 1) {
		return 1
	}
	return min(1/r, maxWeight)
}

// stateWeight is how many spans one with this W3C tracestate stands for: the entry `ot` holds `th:` with the rejection
// threshold, 1 to 14 hex digits, of 2^56 (OpenTelemetry, "TraceState: Probability Sampling"). It is 1 without one.
func stateWeight(state string) float64 {
	for state != "" {
		var member string
		member, state, _ = strings.Cut(state, ",")
		ot, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for ot != "" {
			var sub string
			sub, ot, _ = strings.Cut(ot, ";")
			if th, ok := strings.CutPrefix(sub, "th:"); ok {
				return thresholdWeight(th)
			}
		}
		return 1
	}
	return 1
}

func thresholdWeight(th string) float64 {
	const digits = 14
	if th == "" || len(th) > digits {
		return 1
	}
	t, err := strconv.ParseUint(th, 16, 64)
	if err != nil || strings.ContainsAny(th, "+_xX") {
		return 1
	}
	t <<= 4 * (digits - len(th)) // Trailing zeros are left out in the text.
	const all = 1 << (4 * digits)
	return min(float64(all)/float64(all-t), maxWeight)
}
