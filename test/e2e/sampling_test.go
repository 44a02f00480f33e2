package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/test/harness"
)

const previewPath = "/api/bramble/sampling/preview"

// sampled starts the shipped configuration with a window of seconds and policies in use.
func sampled(t *testing.T, recent string, policies []any) *harness.Bramble {
	t.Helper()
	return harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: harness.Set(
		"extensions::trace_store::retention::recent", recent, "processors::tail_sampling::policies", policies,
		"processors::pii::mode", "report",
	)})
}

func policy(name, typ string, settings map[string]any) map[string]any {
	return map[string]any{"name": name, "type": typ, typ: settings}
}

// sendOrdinary sends traces of one span of which some have errors.
func sendOrdinary(t *testing.T, b *harness.Bramble, n int) {
	t.Helper()
	now := time.Now()
	var spans []any
	for i := range n {
		span := map[string]any{
			"traceId": fmt.Sprintf("%032x", 1+uint64(i)*0x9e3779b97f4a7c15), "spanId": fmt.Sprintf("%016x", i+1), "name": "work", "kind": 1,
			"startTimeUnixNano": strconv.FormatInt(now.UnixNano(), 10), "endTimeUnixNano": strconv.FormatInt(now.UnixNano()+5e6, 10),
		}
		if i%20 == 0 {
			span["status"] = map[string]any{"code": 2}
		}
		spans = append(spans, span)
	}
	body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
		"resource":   map[string]any{"attributes": []any{map[string]any{"key": "service.name", "value": map[string]any{"stringValue": "sampled"}}}},
		"scopeSpans": []any{map[string]any{"spans": spans}},
	}}})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", "application/json").Status)
}

// tracesOf counts the traces that a query finds.
func tracesOf(t *testing.T, b *harness.Bramble, query string) int {
	t.Helper()
	r := b.Get("/api/search?limit=100000&q=" + url.QueryEscape(query))
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var answer struct {
		Traces []json.RawMessage `json:"traces"`
	}
	require.NoError(t, json.Unmarshal(r.Body, &answer))
	return len(answer.Traces)
}

// TestSampling sends traces, asks what would be kept, and sees that this is what is kept when they leave a window of
// seconds: errors all, a share of the others, and TraceQL tells which policy kept what.
func TestSampling(t *testing.T) {
	const traces = 4000
	b := sampled(t, "8s", []any{
		policy("errors", "status_code", map[string]any{"status_codes": []any{"ERROR"}}),
		policy("share", "probabilistic", map[string]any{"sampling_percentage": 10}),
	})
	sendOrdinary(t, b, traces)
	require.Equal(t, traces, tracesOf(t, b, "{}"), "everything is there in the window")

	r := b.Get(previewPath)
	require.Equal(t, http.StatusOK, r.Status, "%s", r.Body)
	var report sampling.Report
	require.NoError(t, json.Unmarshal(r.Body, &report))
	require.Equal(t, traces, report.Total.Traces)
	other := b.Do(http.MethodPost, "http://"+b.QueryAddr()+previewPath, strings.NewReader("- {name: all, type: always_sample}"))
	require.Equal(t, http.StatusOK, other.Status)
	require.Contains(t, string(other.Body), `"share":1`)
	bad := b.Get(previewPath + "?policies=" + url.QueryEscape("[{name: a, type: ottl_condition}]"))
	require.Equal(t, http.StatusBadRequest, bad.Status)
	require.Contains(t, string(bad.Body), `policy "a"`)
	require.Equal(t, http.StatusMethodNotAllowed, b.Do(http.MethodDelete, "http://"+b.QueryAddr()+previewPath, nil).Status)
	if filepath.Base(filepath.Dir(harness.Binary(t))) != "plain" { // What ocb makes alone has the Collector's commands only.
		code, output := harness.Command(t, "sampling", "preview", "--url", "http://"+b.QueryAddr(), "--config", harness.Root(t, "config", "local.yaml"))
		require.Zero(t, code, output)
		require.Contains(t, output, "Of 4000 traces")
	}
	require.Equal(t, traces, tracesOf(t, b, "{}"), "a preview changes nothing")

	harness.Poll(t, 2*time.Minute, "decisions", func() error {
		if n := tracesOf(t, b, `{ trace:brambleDecision = nil }`); n > 0 {
			return fmt.Errorf("%d traces are not decided", n)
		}
		return nil
	})
	kept := tracesOf(t, b, "{}")
	assert.InEpsilon(t, report.Kept.Traces, kept, 0.05, "the preview is right")
	assert.Equal(t, kept, tracesOf(t, b, `{ trace:brambleDecision = "kept" }`))
	assert.Equal(t, traces/20, tracesOf(t, b, `{ trace:bramblePolicy = "errors" }`))
	assert.Equal(t, traces/20, tracesOf(t, b, `{ status = error }`))
	assert.Equal(t, kept-traces/20, tracesOf(t, b, `{ trace:bramblePolicy = "share" }`))
	waitMetric(t, b, float64(traces/20), "otelcol_processor_tail_sampling_store_decisions", `policy="errors"`, `decision="kept"`)
	waitMetric(t, b, float64(traces-kept), "otelcol_processor_tail_sampling_store_spans", `decision="dropped"`)
	t.Logf("%d of %d traces are kept, the preview said %d", kept, traces, report.Kept.Traces)
}

// TestTwoSamplersOnOneStore: the process does not start, and says what to do.
func TestTwoSamplersOnOneStore(t *testing.T) {
	code, output := harness.Run(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: map[string]any{
		"processors": map[string]any{"tail_sampling/other": map[string]any{
			"store": "trace_store", "policies": []any{policy("all", "always_sample", map[string]any{})},
		}},
		"service": map[string]any{"pipelines": map[string]any{"traces": map[string]any{"processors": []any{"tail_sampling", "tail_sampling/other"}}}},
	}})
	require.NotZero(t, code)
	require.Contains(t, output, "one tail_sampling processor per store")
}
