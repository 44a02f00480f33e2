package tracemetrics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Names of metrics (N-01, N-05, N-20). Counters end in _total, durations of the service graph in _seconds: the
// translators to Prometheus find these suffixes already there and add none.
const (
	metricCalls        = "traces_spanmetrics_calls_total"
	metricLatency      = "traces_spanmetrics_latency"
	metricSize         = "traces_spanmetrics_size_total"
	metricTargetInfo   = "traces_target_info"
	metricRequests     = "traces_service_graph_request_total"
	metricFailed       = "traces_service_graph_request_failed_total"
	metricServerTime   = "traces_service_graph_request_server_seconds"
	metricClientTime   = "traces_service_graph_request_client_seconds"
	metricMessageDelay = "traces_service_graph_request_messaging_system_seconds"
)

const (
	// overflowLabel marks the series that counts what has no room in its metric; overflowValue replaces label values
	// that have no room in their label.
	overflowLabel = "metric_overflow"
	overflowValue = "__cardinality_overflow__"

	connMessaging = "messaging_system"
	connDatabase  = "database"
	connVirtual   = "virtual_node"
)

var kindNames = [...]string{
	"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER",
}

var statusNames = [...]string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}

// enumName is the name of an OTLP enum's value, or its number if OTLP does not name it.
func enumName(names []string, v int32) string {
	if v >= 0 && int(v) < len(names) {
		return names[v]
	}
	return strconv.Itoa(int(v))
}

// sanitize replaces what Prometheus does not take in a label name (N-04).
func sanitize(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

// startsWithDigit reports whether a label name would be refused (N-05).
func startsWithDigit(name string) bool { return name != "" && name[0] >= '0' && name[0] <= '9' }

// dimensionLabel is the label of a configured attribute, which must not be one of the metric's own labels (N-04).
func dimensionLabel(name string, own []string, maxLen int) string {
	label := sanitize(name)
	if slices.Contains(own, label) {
		label = "__" + label
	}
	return cut(label, maxLen)
}

// spanLabels lists the labels of span metrics in the order of their values. The last is the overflow label.
func spanLabels(c *Config) ([]string, error) {
	var own []string
	in := c.SpanMetrics.Intrinsic
	for _, l := range []struct {
		on   bool
		name string
	}{
		{in.Service, "service"},
		{in.SpanName, "span_name"},
		{in.SpanKind, "span_kind"},
		{in.StatusCode, "status_code"},
		{in.StatusMessage, "status_message"},
	} {
		if l.on {
			own = append(own, l.name)
		}
	}
	reserved := append(slices.Clone(own), c.NodeLabel, overflowLabel, "le")
	if c.SpanMetrics.TargetInfo {
		reserved = append(reserved, "job", "instance")
	}
	labels := slices.Clone(own)
	for _, d := range c.SpanMetrics.Dimensions {
		labels = append(labels, dimensionLabel(d, reserved, c.MaxLabelNameLength))
	}
	for _, m := range c.SpanMetrics.Mappings {
		if m.Name == "" || len(m.SourceLabels) == 0 {
			return nil, fmt.Errorf("span_metrics::dimension_mappings: %q needs a name and source_labels", m.Name)
		}
		labels = append(labels, dimensionLabel(m.Name, reserved, c.MaxLabelNameLength))
	}
	if c.SpanMetrics.TargetInfo {
		labels = append(labels, "job", "instance")
	}
	labels = append(labels, overflowLabel)
	return labels, checkLabels("span_metrics::dimensions", labels)
}

// graphLabels lists the labels of the service graph in the order of their values. The last is the overflow label.
func graphLabels(c *Config) ([]string, error) {
	g := &c.ServiceGraph
	labels := []string{"client", "server", "connection_type"}
	if g.VirtualNodeLabel {
		labels = append(labels, "virtual_node")
	}
	reserved := append(slices.Clone(labels), c.NodeLabel, overflowLabel, "le")
	prefixes := []string{""}
	if g.ClientServerPrefix {
		prefixes = []string{"client_", "server_"}
	}
	for _, prefix := range prefixes {
		for _, d := range g.Dimensions {
			labels = append(labels, dimensionLabel(prefix+d, reserved, c.MaxLabelNameLength))
		}
	}
	labels = append(labels, overflowLabel)
	return labels, checkLabels("service_graphs::dimensions", labels)
}

// ReservedLabels lists the labels of dimensions that begin with two underscores, which remote write takes and contrib's
// prometheus exporter does not.
func (c *Config) ReservedLabels() (reserved []string) {
	for _, labels := range []func(*Config) ([]string, error){spanLabels, graphLabels} {
		names, err := labels(c)
		if err != nil {
			continue // Validate says so.
		}
		for _, l := range names {
			if strings.HasPrefix(l, "__") {
				reserved = append(reserved, l)
			}
		}
	}
	return reserved
}

// checkLabels finds names that Prometheus refuses or that would stand twice on one series.
func checkLabels(path string, labels []string) error {
	for i, l := range labels {
		switch {
		case strings.Trim(l, "_") == "":
			return fmt.Errorf("%s: %q has no letter or digit to make a label of", path, l)
		case startsWithDigit(l):
			return fmt.Errorf("%s: the label %q starts with a digit, which Prometheus refuses", path, l)
		case slices.Contains(labels[:i], l):
			return fmt.Errorf("%s: two dimensions become the same label %q: remove one", path, l)
		}
	}
	return nil
}

// cut shortens s to at most n bytes, at a character's boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cleanValue makes s fit for Prometheus: valid UTF-8 and not longer than max (N-42).
func cleanValue(s string, maxLen int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return cut(s, maxLen)
}

// text is the label value of an attribute; arrays and maps in JSON's manner.
func text(v *store.Value) string {
	switch v.Type {
	case store.TypeString, store.TypeBytes:
		return v.Str
	case store.TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case store.TypeFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case store.TypeBool:
		return strconv.FormatBool(v.Bool())
	case store.TypeArray, store.TypeMap:
		return string(appendText(nil, v, 0))
	}
	return ""
}

func appendText(b []byte, v *store.Value, depth int) []byte {
	switch v.Type {
	case store.TypeString, store.TypeBytes:
		return strconv.AppendQuote(b, v.Str)
	case store.TypeArray:
		elems, err := v.Elems()
		if err != nil || depth > store.MaxDepth {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i := range elems {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, &elems[i], depth+1)
		}
		return append(b, ']')
	case store.TypeMap:
		attrs, err := v.Attrs()
		if err != nil || depth > store.MaxDepth {
			return append(b, "{}"...)
		}
		b = append(b, '{')
		for i := range attrs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendQuote(b, attrs[i].Key), ':')
			b = appendText(b, &attrs[i].Value, depth+1)
		}
		return append(b, '}')
	case store.TypeEmpty, store.TypeAbsent:
		return append(b, "null"...)
	}
	return append(b, text(v)...)
}
