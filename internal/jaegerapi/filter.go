package jaegerapi

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
)

// traceQuery is what both APIs can ask for when they search.
type traceQuery struct {
	service, operation string // empty: any
	kind               string // of TraceQL; empty: any
	tags               map[string]string
	minDuration        time.Duration // 0: no bound
	maxDuration        time.Duration // 0: no bound
	start, end         time.Time     // traces that overlap this window
	limit              int
}

// Bounds of limit: the default (J-04), and the most that is answered, as every trace is read whole.
const (
	defaultLimit = 100
	maxLimit     = 1500
)

func (q *traceQuery) check() error {
	switch {
	case q.minDuration < 0 || q.maxDuration < 0:
		return query.Invalidf("durations must not be negative")
	case q.maxDuration > 0 && q.minDuration > q.maxDuration:
		return query.Invalidf("the minimum duration (%s) must not be above the maximum (%s)", q.minDuration, q.maxDuration)
	case q.limit < 1 || q.limit > maxLimit:
		return query.Invalidf("the number of traces must be between 1 and %d, is %d", maxLimit, q.limit)
	}
	return nil
}

// traceQL is the question as a spanset filter: all conditions are about one span, as in Jaeger.
func (q *traceQuery) traceQL() string {
	var conds []string
	if q.service != "" {
		conds = append(conds, "resource.service.name = "+strconv.Quote(q.service))
	}
	if q.operation != "" {
		conds = append(conds, "name = "+strconv.Quote(q.operation))
	}
	if q.kind != "" {
		conds = append(conds, "kind = "+q.kind)
	}
	if q.minDuration > 0 {
		conds = append(conds, fmt.Sprintf("duration >= %dns", q.minDuration))
	}
	if q.maxDuration > 0 {
		conds = append(conds, fmt.Sprintf("duration <= %dns", q.maxDuration))
	}
	keys := make([]string, 0, len(q.tags))
	for k := range q.tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		conds = append(conds, tagCondition(k, q.tags[k]))
	}
	if len(conds) == 0 {
		return "{ }"
	}
	return "{ " + strings.Join(conds, " && ") + " }"
}

// tagCondition is the condition for one tag as Jaeger shows it (J-03).
func tagCondition(key, value string) string {
	quoted := strconv.Quote(value)
	switch key {
	case "span.kind":
		if kind := strings.ToLower(value); slices.Contains(kinds[1:], kind) {
			return "kind = " + kind
		}
	case "error":
		switch value {
		case "true":
			return "status = error"
		case "false":
			return "status != error"
		}
	case "otel.status_code":
		switch value {
		case "ERROR", "OK":
			return "status = " + strings.ToLower(value)
		}
	case "otel.status_description":
		return "statusMessage = " + quoted
	case "otel.scope.name", "otel.library.name":
		return "instrumentation:name = " + quoted
	case "otel.scope.version", "otel.library.version":
		return "instrumentation:version = " + quoted
	case "event": // A field of logs.
		return "(event:name = " + quoted + " || " + attribute(key) + " = " + quoted + ")"
	}
	return typed(attribute(key), value)
}

// attribute names an attribute of whatever scope.
func attribute(key string) string {
	return `."` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

// typed compares with the text, and with the value that the text may be the form of.
func typed(name, value string) string {
	alternatives := []string{name + " = " + strconv.Quote(value)}
	switch number, err := strconv.ParseFloat(value, 64); {
	case value == "true" || value == "false":
		alternatives = append(alternatives, name+" = "+value)
	case err != nil || math.IsInf(number, 0) || math.IsNaN(number):
	default:
		if whole, err := strconv.ParseInt(value, 10, 64); err == nil {
			alternatives = append(alternatives, fmt.Sprintf("%s = %d", name, whole))
		} else if strings.Trim(value, "+-0123456789.eE") == "" {
			text := strconv.FormatFloat(number, 'f', -1, 64)
			if !strings.Contains(text, ".") {
				text += ".0" // Without it, it would be an integer, perhaps one out of range.
			}
			alternatives = append(alternatives, name+" = "+text)
		}
	}
	if len(alternatives) == 1 {
		return alternatives[0]
	}
	return "(" + strings.Join(alternatives, " || ") + ")"
}

// kinds are the names of OTLP's span kinds, by their numbers.
var kinds = []string{"", "internal", "server", "client", "producer", "consumer"}

// kindName is the name of a kind, empty for one that is not said or not known.
func kindName(kind int32) string {
	if kind < 0 || int(kind) >= len(kinds) {
		return ""
	}
	return kinds[kind]
}
