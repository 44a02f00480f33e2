package tracequeryextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"gopkg.in/yaml.v3"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// The extension is the guard's eyes in the service: it sees components fail, knows when the pipelines run and is shown
// the effective configuration. Without a guard (another main package) it only keeps the configuration for /status/config.
var (
	_ componentstatus.Watcher                     = (*queryExtension)(nil)
	_ extensioncapabilities.ConfigSnapshotWatcher = (*queryExtension)(nil)
)

// ComponentStatusChanged implements componentstatus.Watcher.
func (e *queryExtension) ComponentStatusChanged(source *componentstatus.InstanceID, event *componentstatus.Event) {
	fatal := event.Status() == componentstatus.StatusFatalError
	// An exporter that cannot reach its peer, or is refused by it, is no reason to go back.
	if !fatal && (event.Status() != componentstatus.StatusPermanentError || source.Kind() == component.KindExporter) {
		return
	}
	if g := liveconfig.Of(&procstate.Default); g != nil {
		g.Fail(fmt.Sprintf("%s %s: %v", strings.ToLower(source.Kind().String()), source.ComponentID(), event.Err()), fatal)
	}
}

// NotifyConfigSnapshot implements extensioncapabilities.ConfigSnapshotWatcher.
func (e *queryExtension) NotifyConfigSnapshot(_ context.Context, s extensioncapabilities.ConfigSnapshot) error {
	m := liveconfig.Redact(s.Effective().ToStringMap())
	e.effective.Store(&m)
	if g := liveconfig.Of(&procstate.Default); g != nil {
		g.SetEffective(m)
	}
	return nil
}

// tellReady tells the guard that the pipelines run.
func (e *queryExtension) tellReady() {
	g := liveconfig.Of(&procstate.Default)
	if g == nil {
		return
	}
	g.Started(func() error {
		if e.state.Load() != stateReady {
			return errors.New("the query API is not ready")
		}
		return nil
	})
}

// configPage answers /status/config: as text the state of the configuration in comments and the effective configuration
// in YAML, secrets hidden; with ?format=json all of it as JSON.
func (h *portHandler) configPage(w http.ResponseWriter, r *http.Request) {
	var status liveconfig.Status
	guarded := false
	if g := liveconfig.Of(&procstate.Default); g != nil {
		status, guarded = g.Status(), true
	}
	if m := h.ext.effective.Load(); m != nil {
		status.Effective = *m
	} else if status.Effective == nil {
		status.Effective = h.ext.ownConfig()
	}
	if r.URL.Query().Get("format") == "json" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(configJSON{ // The client that does not read has gone.
			Watched: guarded, OK: status.OK || !guarded, Hash: status.Hash, Probation: status.Probation,
			Sources: status.Sources, History: status.History, Effective: status.Effective,
		})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if guarded {
		writeConfigStatus(w, &status)
	} else {
		fmt.Fprintln(w, "# not watched: this process reads its configuration when it starts")
	}
	_, _ = w.Write(asYAML(status.Effective)) //nolint:gosec // It is sent as text/plain. The client that does not read has gone.
}

// ownConfig is this extension's part of the configuration, for when nobody has told the whole.
func (e *queryExtension) ownConfig() map[string]any {
	conf := confmap.New()
	if err := conf.Marshal(e.cfg); err != nil {
		return nil
	}
	return liveconfig.Redact(map[string]any{"extensions": map[string]any{e.set.ID.String(): conf.ToStringMap()}})
}

// asYAML writes a configuration that liveconfig.Redact has made.
func asYAML(m map[string]any) []byte {
	b, err := yaml.Marshal(plainNumbers(m))
	if err != nil {
		return []byte("# it cannot be shown: " + err.Error() + "\n")
	}
	return b
}

// plainNumbers replaces json.Number, which YAML would write as text.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = plainNumbers(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plainNumbers(x)
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	}
	return v
}

type configJSON struct {
	Watched   bool                `json:"watched"`
	OK        bool                `json:"ok"`
	Hash      string              `json:"hash"`
	Probation bool                `json:"probation"`
	Sources   []string            `json:"sources"`
	History   []liveconfig.Record `json:"history"`
	Effective map[string]any      `json:"effective"`
}

func writeConfigStatus(w io.Writer, s *liveconfig.Status) {
	state := "good: what the sources hold is what runs"
	if !s.OK {
		state = "BAD: the sources hold something else than what runs, and it was refused (see the history)"
	}
	fmt.Fprintf(w, "# state:   %s\n# running: %s since %s\n", state, s.Hash, s.Since.UTC().Format("2006-01-02T15:04:05Z"))
	if s.Probation {
		fmt.Fprintln(w, "# it is on probation: it is rolled back if it fails")
	}
	for _, src := range s.Sources {
		fmt.Fprintf(w, "# source:  %s\n", src)
	}
	fmt.Fprintln(w, "# history, newest first:")
	for _, r := range slices.Backward(s.History) {
		fmt.Fprintf(w, "#   %s %-11s %.12s\n", r.Time.UTC().Format("2006-01-02T15:04:05Z"), r.Outcome, r.Hash)
		for line := range strings.SplitSeq(strings.TrimSpace(r.Reason), "\n") {
			if line != "" {
				fmt.Fprintf(w, "#     %s\n", line)
			}
		}
		for _, c := range r.Changes {
			fmt.Fprintf(w, "#     %s\n", c)
		}
	}
}
