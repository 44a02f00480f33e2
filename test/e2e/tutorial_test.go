package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tempoTrace is the part of a trace-by-id answer in JSON that the tutorial looks at. Ids are base64 (C-23), the
// top-level key is batches (T-04).
type tempoTrace struct {
	Batches []struct {
		Resource struct {
			Attributes []struct {
				Key   string
				Value struct{ StringValue string }
			}
		}
		ScopeSpans []struct {
			Spans []struct {
				TraceID           string
				SpanID            string
				Name              string
				Kind              string
				StartTimeUnixNano string
				EndTimeUnixNano   string
			}
		}
	}
}

// TestTutorial sends the span of the users' tutorial as they type it: random hex ids, the kind as the number 1, times
// as strings of nanoseconds and one resource attribute. The trace is there within a second of the answer, and after
// the process was stopped and started again.
func TestTutorial(t *testing.T) {
	b := local(t)
	traceID, spanID := randomHex(t, 16), randomHex(t, 8)
	start := time.Now().UnixNano()
	body := fmt.Sprintf(`{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "test-service"}}]},
    "scopeSpans": [{
      "spans": [{
        "traceId": "%s",
        "spanId": "%s",
        "name": "test-span",
        "kind": 1,
        "startTimeUnixNano": "%d",
        "endTimeUnixNano": "%d"
      }]
    }]
  }]
}`, traceID, spanID, start, start+1_000_000)

	answer := curl(t, "-X", "POST", b.TracesURL(), "-H", "Content-Type: application/json", "-d", body)
	answered := time.Now()
	assert.JSONEq(t, `{"partialSuccess":{}}`, answer)

	check := func() {
		t.Helper()
		got := curl(t, fmt.Sprintf("http://%s/api/traces/%s", b.QueryAddr(), traceID))
		var trace tempoTrace
		require.NoError(t, json.Unmarshal([]byte(got), &trace), "the answer is %s", got)
		require.Len(t, trace.Batches, 1, "the answer is %s", got)
		require.Len(t, trace.Batches[0].Resource.Attributes, 1)
		assert.Equal(t, "service.name", trace.Batches[0].Resource.Attributes[0].Key)
		assert.Equal(t, "test-service", trace.Batches[0].Resource.Attributes[0].Value.StringValue)
		require.Len(t, trace.Batches[0].ScopeSpans, 1)
		require.Len(t, trace.Batches[0].ScopeSpans[0].Spans, 1)
		span := trace.Batches[0].ScopeSpans[0].Spans[0]
		assert.Equal(t, base64.StdEncoding.EncodeToString(unhex(t, traceID)), span.TraceID)
		assert.Equal(t, base64.StdEncoding.EncodeToString(unhex(t, spanID)), span.SpanID)
		assert.Equal(t, "test-span", span.Name)
		assert.Equal(t, "SPAN_KIND_INTERNAL", span.Kind)
		assert.Equal(t, strconv.FormatInt(start, 10), span.StartTimeUnixNano)
		assert.Equal(t, strconv.FormatInt(start+1_000_000, 10), span.EndTimeUnixNano)
	}
	check() // The first question already: what is acknowledged is visible.
	assert.Less(t, time.Since(answered), time.Second, "from the answer to the POST until the trace was read")
	t.Logf("the trace was read %s after the POST was answered, the start of curl included", time.Since(answered).Round(time.Millisecond))

	b.Stop()
	b.Restart()
	check()
}

// TestTutorialIsThereAfterKill is the same with SIGKILL right after the answer.
func TestTutorialIsThereAfterKill(t *testing.T) {
	b := local(t)
	traceID := randomHex(t, 16)
	now := time.Now().UnixNano()
	body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"%s","name":"s","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`,
		traceID, randomHex(t, 8), now, now)
	assert.JSONEq(t, `{"partialSuccess":{}}`, curl(t, b.TracesURL(), "-H", "Content-Type: application/json", "-d", body))
	b.Kill()
	b.Restart()
	assert.Contains(t, byName(t, b.Trace(unhex(t, traceID))), "s")
}
