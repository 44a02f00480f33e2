package tracemetrics

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Attributes of resources that become job and instance (N-05).
const (
	attrService   = "service.name"
	attrNamespace = "service.namespace"
	attrInstance  = "service.instance.id"
)

// infoMetric is a gauge that is 1 for each set of labels: traces_target_info or traces_host_info.
type infoMetric struct {
	on       bool
	name     string
	table    *table
	excluded []string
	maxName  int
	node     string // the node label's name, which attributes must not take
}

func newTargetInfo(c *Config, seed maphash.Seed) *infoMetric {
	return &infoMetric{
		on: c.SpanMetrics.TargetInfo, name: metricTargetInfo, table: newTable(c, nil, seed), maxName: c.MaxLabelNameLength, node: c.NodeLabel,
		excluded: append([]string{attrService, attrNamespace, attrInstance}, c.SpanMetrics.TargetInfoExcluded...),
	}
}

func newHostInfo(c *Config, seed maphash.Seed) *infoMetric {
	return &infoMetric{on: c.produces(ProcessorHostInfo), name: c.HostInfo.MetricName, table: newTable(c, nil, seed)}
}

// touch keeps the series with the labels alive. pairs are names and values.
func (m *infoMetric) touch(pairs []string, now int64) {
	sh, x := m.table.acquire(pairs, m.table.hash(pairs))
	x.seen = now
	sh.mu.Unlock()
}

// target is called once for each resource of a batch that has spans.
func (m *infoMetric) target(r *resourceRow, attrs []store.Attr, now int64) {
	if r.job == "" && r.instance == "" {
		return
	}
	type label struct{ name, value string }
	labels := make([]label, 0, len(attrs)+2)
	for i := range attrs {
		name := cut(sanitize(attrs[i].Key), m.maxName)
		if startsWithDigit(name) || strings.Trim(name, "_") == "" || slices.Contains(m.excluded, attrs[i].Key) {
			continue
		}
		switch name {
		case "job", "instance", m.node, overflowLabel:
			name = "__" + name
		}
		labels = append(labels, label{name, text(&attrs[i].Value)})
	}
	if len(labels) == 0 {
		return
	}
	labels = append(labels, label{"job", r.job}, label{"instance", r.instance})
	slices.SortStableFunc(labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	pairs := make([]string, 0, 2*len(labels))
	for i, l := range labels {
		if l.value == "" || i > 0 && l.name == labels[i-1].name {
			continue
		}
		pairs = append(pairs, l.name, l.value)
	}
	m.touch(pairs, now)
}

// host is called once for each resource of a batch that has spans. ids are indexes in the resource picker.
func (m *infoMetric) host(r *resourceRow, ids []int, names []string, now int64) {
	for i, id := range ids {
		if v := r.values[id]; v != nil {
			if host := text(v); host != "" {
				m.touch([]string{"grafana_host_id", host, "host_source", names[i]}, now)
				return
			}
		}
	}
}
