package reload

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestReloadWhileSampling reloads, by edits and by hand, while traces leave a window of seconds and policies decide about
// them. Each edit renames the policy, which says when a trace was decided: decisions go on after each reload, none
// changes, and those under the last name are counted once each. At the end every trace is kept whole or gone.
func TestReloadWhileSampling(t *testing.T) {
	const percentage = 30
	s := start(t)
	// A dropped trace that is the exemplar of a histogram stays: without pins each is gone.
	s.good = s.edited("extensions::trace_store::retention::recent", "5s",
		"connectors::trace_metrics::exemplars::max_pinned_per_flush", 0)
	policy := func(name string) string {
		return s.edited("processors::tail_sampling::policies", []any{map[string]any{
			"name": name, "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": percentage},
		}})
	}
	d := &decisions{policies: map[string]string{}, dropped: map[string]bool{}}
	edit := func(name string) {
		n := s.count()
		s.write(policy(name))
		r := s.next(n)
		require.Equal(t, "applied", r.Outcome, r.Reason)
	}
	names := []string{"first", "second", "third"}
	edit(names[0]) // Before there are spans: an edit may take longer than they stay undecided.
	l := startLoad(t, s.Bramble, "grpc", 300)
	for i, name := range names {
		if i > 0 {
			edit(name)
		}
		d.waitFor(t, s.Bramble, name)
		if i == len(names)-1 {
			break // Counters begin anew with a reload.
		}
		ready := len(s.Log.Lines("Everything is ready"))
		s.Signal(syscall.SIGHUP)
		harness.Poll(t, time.Minute, "a reload by hand", func() error {
			if len(s.Log.Lines("Everything is ready")) == ready {
				return fmt.Errorf("%d times ready", ready)
			}
			return nil
		})
		before := d.under(name)
		harness.Poll(t, time.Minute, "decisions after the reload by hand", func() error {
			d.note(t, s.Bramble)
			if d.under(name) == before {
				return fmt.Errorf("%d decisions under %s", before, name)
			}
			return nil
		})
	}
	l.stop()
	require.Zero(t, l.gaveUp)
	harness.Poll(t, 2*time.Minute, "decisions about all traces", func() error {
		d.note(t, s.Bramble)
		if n := len(found(t, s.Bramble, `{ trace:brambleDecision = nil }`)); n > 0 {
			return fmt.Errorf("%d traces are not decided", n)
		}
		// Blocks that were decided about hold the dropped traces until they are written anew.
		if n := len(found(t, s.Bramble, `{ trace:brambleDecision = "dropped" }`)); n > 0 {
			return fmt.Errorf("%d dropped traces are still there", n)
		}
		return nil
	})
	d.note(t, s.Bramble)
	whole, gone := 0, 0
	l.acks.Each(func(trace [16]byte, spans [][8]byte) {
		id := hex.EncodeToString(trace[:])
		if d.policies[id] == "" {
			gone++
			return
		}
		require.Len(t, harness.Spans(s.Trace(trace[:])), len(spans), "spans of trace %s, which was kept by %s", id, d.policies[id])
		whole++
	})
	counted := s.counter(`otelcol_processor_tail_sampling_store_decisions`, `decision="kept"`, `policy="third"`)
	require.Equal(t, d.under("third"), counted, "decisions that were counted")
	require.Len(t, d.policies, whole, "traces that were kept")
	require.InDelta(t, percentage/100.0, float64(whole)/float64(whole+gone), 0.1)
	require.Len(t, found(t, s.Bramble, `{}`), whole, "traces that are still there")
	t.Logf("%d reloads: of %d traces %d are kept whole, %d, %d and %d by the policies before and after the edits; none was decided twice",
		2*len(names)-1, whole+gone, whole, d.under(names[0]), d.under(names[1]), d.under(names[2]))
}

// counter is the value of the first series of a counter that has all of the labels, 0 if there is none.
func (s *subject) counter(name string, labels ...string) int {
	s.t.Helper()
	r := s.Do(http.MethodGet, "http://"+s.Addr("service::telemetry::metrics")+"/metrics", http.NoBody)
	require.Equal(s.t, http.StatusOK, r.Status)
next:
	for line := range strings.Lines(string(r.Body)) {
		if !strings.HasPrefix(line, name) {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(strings.TrimSpace(line), " ")+1:]), 64)
		require.NoError(s.t, err)
		return int(v)
	}
	return 0
}

// decisions are those that were seen, by trace id.
type decisions struct {
	policies map[string]string // of traces that are kept: which policy did it
	dropped  map[string]bool
}

// under counts the traces that a policy has kept.
func (d *decisions) under(policy string) int {
	n := 0
	for _, p := range d.policies {
		if p == policy {
			n++
		}
	}
	return n
}

// note asks for all decisions, and fails if one that was seen is another one now.
func (d *decisions) note(t *testing.T, b *harness.Bramble) {
	t.Helper()
	for id := range found(t, b, `{ trace:brambleDecision = "dropped" }`) {
		require.Empty(t, d.policies[id], "trace %s was kept and is dropped now", id)
		d.dropped[id] = true
	}
	for _, policy := range []string{"first", "second", "third"} {
		for id := range found(t, b, fmt.Sprintf(`{ trace:bramblePolicy = %q && trace:brambleDecision = "kept" }`, policy)) {
			require.False(t, d.dropped[id], "trace %s was dropped and is kept now", id)
			if was := d.policies[id]; was != "" {
				require.Equal(t, was, policy, "trace %s was decided again", id)
			}
			d.policies[id] = policy
		}
	}
}

func (d *decisions) waitFor(t *testing.T, b *harness.Bramble, policy string) {
	t.Helper()
	harness.Poll(t, 2*time.Minute, "decisions by "+policy, func() error {
		d.note(t, b)
		if d.under(policy) == 0 {
			return fmt.Errorf("%d traces are kept by others", len(d.policies))
		}
		return nil
	})
}

// found returns the ids of the traces that a query finds, as 32 hex digits.
func found(t *testing.T, b *harness.Bramble, query string) map[string]bool {
	t.Helper()
	r := b.Get("/api/search?limit=100000&q=" + url.QueryEscape(query))
	require.Equal(t, 200, r.Status, "%s", r.Body)
	var answer struct {
		Traces []struct {
			TraceID string `json:"traceID"`
		} `json:"traces"`
	}
	require.NoError(t, json.Unmarshal(r.Body, &answer))
	out := map[string]bool{}
	for _, tr := range answer.Traces {
		id, err := spanid.ParseTraceID(tr.TraceID)
		require.NoError(t, err)
		out[id.String()] = true
	}
	return out
}
