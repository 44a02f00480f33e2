package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/test/harness"
)

// TestHugeTrace sends a trace of 50,000 spans (BRAMBLE_FULL: 1,000,000) in requests of 5,000, and asks for it: by id as
// much is answered as max_trace_bytes allows, and the answer says PARTIAL (T-03), or 422 where it cannot (T-04); searches and
// metrics count every span, from memory and from blocks.
func TestHugeTrace(t *testing.T) {
	spans, limit := 50_000, 2_000_000
	overlay := harness.Set("extensions::trace_query::limits::max_trace_bytes", limit, "extensions::trace_query::limits::timeout", "5m")
	if os.Getenv("BRAMBLE_FULL") != "" {
		spans, limit = 1_000_000, 50<<20
		overlay = harness.Set("extensions::trace_query::limits::timeout", "5m") // The limit is the default.
	}
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: overlay})
	id := spanid.TraceID{0xab, 15: 1}
	const piece = 5000
	start := time.Now().Add(-time.Minute)
	batch := &store.Batch{
		Resources: []store.Resource{{Attrs: []store.Attr{{Key: "service.name", Value: store.String("endless")}}}},
		Scopes:    make([]store.Scope, 1),
	}
	for n := 0; n < spans; n += piece {
		batch.Spans = batch.Spans[:0]
		for i := n; i < n+piece; i++ {
			s := store.Span{
				TraceID: id, SpanID: spanid.SpanID{1, byte(i >> 16), byte(i >> 8), byte(i)}, Name: "step", Kind: 1,
				StartNano: uint64(start.UnixNano() + int64(i)*10_000), EndNano: uint64(start.UnixNano() + int64(i)*10_000 + 5000),
				Attrs: []store.Attr{{Key: "n", Value: store.Int(int64(i))}, {Key: "text", Value: store.String(strings.Repeat("x", i%50))}},
			}
			if i > 0 {
				s.ParentID = spanid.SpanID{1, byte((i / 8) >> 16), byte((i / 8) >> 8), byte(i / 8)}
			}
			batch.Spans = append(batch.Spans, s)
		}
		body, err := otlpspan.AppendProto(nil, batch)
		require.NoError(t, err)
		harness.Poll(t, 5*time.Minute, "a request to be accepted", func() error {
			if r := b.Do(http.MethodPost, b.TracesURL(), bytes.NewReader(body), "Content-Type", "application/x-protobuf"); r.Status != http.StatusOK {
				return fmt.Errorf("status %d: %.200s", r.Status, r.Body)
			}
			return nil
		})
	}

	check := func() {
		t.Helper()
		var byID struct {
			Status, Message string
			Trace           struct {
				ResourceSpans []struct {
					ScopeSpans []struct{ Spans []json.RawMessage }
				}
			}
		}
		r := b.Get("/api/v2/traces/" + id.String())
		require.Equal(t, http.StatusOK, r.Status, "%.300s", r.Body)
		require.NoError(t, json.Unmarshal(r.Body, &byID))
		got := 0
		for _, rs := range byID.Trace.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				got += len(ss.Spans)
			}
		}
		require.Equal(t, "PARTIAL", byID.Status)
		require.Contains(t, byID.Message, strconv.Itoa(limit))
		require.Greater(t, got, limit/1000)
		require.Less(t, got, spans)
		require.Equal(t, http.StatusUnprocessableEntity, b.Get("/api/traces/"+id.String()).Status)
		t.Logf("by id: %d of %d spans, %d bytes of JSON", got, spans, len(r.Body))

		from := fmt.Sprintf("&start=%d&end=%d", start.Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix())
		for query, matched := range map[string]int{
			`{ name = "step" && span.n >= 0 }`:                         spans,
			fmt.Sprintf(`{ span.n >= %d }`, spans-7):                   7,
			fmt.Sprintf(`{ } | count() = %d`, spans):                   spans,
			`{ resource.service.name = "endless" && trace:id != nil }`: spans,
		} {
			var found struct {
				Traces []struct {
					SpanSets []struct{ Matched int }
				}
			}
			r := b.Get("/api/search?limit=5&q=" + url.QueryEscape(query) + from)
			require.Equal(t, http.StatusOK, r.Status, "%s: %.300s", query, r.Body)
			require.NoError(t, json.Unmarshal(r.Body, &found))
			require.Len(t, found.Traces, 1, query)
			require.Equal(t, matched, found.Traces[0].SpanSets[0].Matched, query)
		}
		var counted struct {
			Series []struct{ Value float64 }
		}
		r = b.Get("/api/metrics/query?q=" + url.QueryEscape(`{ resource.service.name = "endless" } | count_over_time()`) + from)
		require.Equal(t, http.StatusOK, r.Status, "%.300s", r.Body)
		require.NoError(t, json.Unmarshal(r.Body, &counted))
		require.Len(t, counted.Series, 1)
		require.InDelta(t, spans, counted.Series[0].Value, 0)
	}
	check()
	b.Kill() // The head is read back from the log.
	b.Restart()
	check()
}
