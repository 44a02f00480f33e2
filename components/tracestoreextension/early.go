package tracestoreextension

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.uber.org/zap"
)

var _ extensioncapabilities.ConfigSnapshotWatcher = (*storeExtension)(nil)

// holders are the types of processors that answer a client before they pass its spans on: what they hold is lost when
// the process is killed, and a refusal by the store does not reach the client. tail_sampling with store passes them on.
var holders = []string{"batch", "tail_sampling", "groupbytrace", "group_by_trace"}

// NotifyConfigSnapshot warns when something in front of a trace_store exporter acknowledges spans before they are
// stored. That is a choice that users may make, so it is one line and no error.
func (e *storeExtension) NotifyConfigSnapshot(_ context.Context, snapshot extensioncapabilities.ConfigSnapshot) error {
	for _, w := range earlyAcknowledgement(snapshot.Effective()) {
		e.logger.Warn("Clients are answered before their spans are stored: spans in these processors are lost when the process is killed",
			zap.String("pipeline", w.pipeline), zap.Strings("processors", w.processors))
	}
	return nil
}

// early is a pipeline into a trace store with processors that answer early.
type early struct {
	pipeline   string
	processors []string
}

// earlyAcknowledgement finds such pipelines, in the order of their names.
func earlyAcknowledgement(conf *confmap.Conf) (found []early) {
	if conf == nil {
		return nil
	}
	pipelines, _ := conf.Get("service::pipelines").(map[string]any)
	for name, p := range pipelines {
		pipeline, _ := p.(map[string]any)
		if typeOf(name) != "traces" || !slices.ContainsFunc(ids(pipeline["exporters"]), func(id string) bool { return typeOf(id) == "trace_store" }) {
			continue
		}
		var held []string
		for _, id := range ids(pipeline["processors"]) {
			if slices.Contains(holders, typeOf(id)) && !conf.IsSet("processors::"+id+"::store") {
				held = append(held, id)
			}
		}
		if len(held) > 0 {
			found = append(found, early{pipeline: name, processors: held})
		}
	}
	slices.SortFunc(found, func(a, b early) int { return strings.Compare(a.pipeline, b.pipeline) })
	return found
}

// typeOf returns the type in a component or pipeline id.
func typeOf(id string) string {
	t, _, _ := strings.Cut(id, "/")
	return t
}

// ids returns a list of component ids, whichever form the configuration has it in.
func ids(list any) (out []string) {
	switch l := list.(type) {
	case []string:
		return l
	case []any:
		for _, id := range l {
			out = append(out, fmt.Sprint(id))
		}
	}
	return out
}
