package crash

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/test/harness"
)

// samplingWindow is the recent window of the test.
const samplingWindow = 10 * time.Second

// TestKillWhileSampling kills the process again and again while traces leave a window of seconds and policies decide
// about them. After each start every acknowledged span that cannot have left the window is there. At the end every trace
// is kept whole or not at all, and what the policy, a share by trace id, says is what was kept: nothing was decided
// differently the second time.
func TestKillWhileSampling(t *testing.T) {
	kills := 3
	if full() {
		kills = 12
	}
	const children = 9
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: map[string]any{
		"extensions": map[string]any{"trace_store": map[string]any{"retention": map[string]any{"recent": samplingWindow.String()}}},
		"processors": map[string]any{"tail_sampling": map[string]any{"policies": []any{
			map[string]any{"name": "share", "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": 30}},
		}}},
	}})
	all := &harness.Acks{}
	kept := map[string]bool{}    // seen as kept, by trace id
	dropped := map[string]bool{} // seen as gone or dropped
	for i := range kills {
		acks := &harness.Acks{}
		endpoint := harness.GRPCRecorder(t, b.GRPC(), acks)
		begin := time.Now()
		load := harness.StartTelemetrygen(t, "--otlp-endpoint", endpoint, "--workers", "4", "--rate", "40", "--child-spans", strconv.Itoa(children),
			"--duration", "inf", "--batch-size", "100", "--allow-export-failures")
		harness.Poll(t, time.Minute, "spans", func() error {
			if time.Since(begin) < samplingWindow/2+time.Duration(i)*731*time.Millisecond {
				return fmt.Errorf("%d spans were acknowledged", acks.Spans())
			}
			return nil
		})
		b.Kill()
		load.Kill()
		b.Restart()
		if time.Since(begin) < samplingWindow {
			missing, examples := acks.Missing(t, b)
			if time.Since(begin) < samplingWindow {
				require.Zero(t, missing, "after kill %d, of %d acknowledged spans of the window are missing, such as %v", i+1, acks.Spans(), examples)
				t.Logf("kill %d after %d acknowledged spans of the window: none is missing", i+1, acks.Spans())
			}
		}
		acks.Each(func(trace [16]byte, spans [][8]byte) {
			for _, s := range spans {
				all.Add(trace, s)
			}
		})
		note(t, b, kept, dropped)
	}
	harness.Poll(t, 2*time.Minute, "decisions", func() error {
		note(t, b, kept, dropped)
		if n := len(search(t, b, `{ trace:brambleDecision = nil }`)); n > 0 {
			return fmt.Errorf("%d traces are not decided", n)
		}
		return nil
	})
	b.Kill() // What was decided stays decided.
	b.Restart()
	stored := search(t, b, `{}`)
	whole, gone := 0, 0
	all.Each(func(trace [16]byte, spans [][8]byte) {
		id := hex.EncodeToString(trace[:])
		if !stored[id] {
			require.False(t, kept[id], "trace %s was kept and is gone", id)
			gone++
			return
		}
		td := b.Trace(trace[:])
		have := map[[8]byte]bool{}
		for _, s := range harness.Spans(td) {
			have[[8]byte(s.GetSpanId())] = true
		}
		for _, s := range spans {
			require.True(t, have[s], "trace %s is kept in part: acknowledged span %x is missing", id, s)
		}
		whole++
	})
	for id := range dropped {
		require.False(t, stored[id], "trace %s was dropped and is back", id)
	}
	require.Positive(t, whole)
	require.Positive(t, gone)
	share := float64(whole) / float64(whole+gone)
	require.InDelta(t, 0.3, share, 0.1)
	t.Logf("%d kills: of %d acknowledged traces %d are kept whole and %d are gone (%.1f %%), none in part", kills+1, whole+gone, whole, gone, 100*share)
}

// note remembers what is decided now, and fails if a decision changed.
func note(t *testing.T, b *harness.Bramble, kept, dropped map[string]bool) {
	t.Helper()
	for id := range search(t, b, `{ trace:brambleDecision = "kept" }`) {
		require.False(t, dropped[id], "trace %s was dropped and is kept now", id)
		kept[id] = true
	}
	for id := range search(t, b, `{ trace:brambleDecision = "dropped" }`) {
		require.False(t, kept[id], "trace %s was kept and is dropped now", id)
		dropped[id] = true
	}
}

// search returns the ids of the traces that a query finds, as 32 hex digits.
func search(t *testing.T, b *harness.Bramble, query string) map[string]bool {
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
