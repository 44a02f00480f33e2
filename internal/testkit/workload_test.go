package testkit_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func TestReferenceWorkload(t *testing.T) {
	b := testkit.NewGenerator(1).Batch(40_000)
	n := float64(len(b.Spans))
	sizes := map[spanid.TraceID]int{}
	services, podNames, nodeNames := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var errors, slow, attrs float64
	for i := range b.Spans {
		s := &b.Spans[i]
		sizes[s.TraceID]++
		attrs += float64(len(s.Attrs))
		if s.StatusCode == store.StatusError {
			errors++
		}
		if s.DurationNano() > 1e9 {
			slow++
		}
		for _, a := range b.Resources[s.Resource].Attrs {
			switch a.Key {
			case "service.name":
				services[a.Value.Str] = true
			case "k8s.pod.name":
				podNames[a.Value.Str] = true
			case "k8s.node.name":
				nodeNames[a.Value.Str] = true
			}
		}
	}
	var lengths []int
	for _, size := range sizes {
		lengths = append(lengths, size)
	}
	slices.Sort(lengths)
	require.Equal(t, 8, lengths[0])
	require.Equal(t, 60, lengths[len(lengths)-1])
	require.InDelta(t, 21, lengths[len(lengths)/2], 2, "median trace length")
	require.Len(t, services, 15)
	require.Len(t, podNames, 12)
	require.Len(t, nodeNames, 4)
	require.InDelta(t, 0.02, errors/n, 0.003, "errors")
	require.InDelta(t, 0.027, slow/n, 0.004, "spans over a second")

	// Sent as the load generator sends it: about 1,000 spans a request.
	var bytes, sent float64
	for g := testkit.NewGenerator(2); sent < 10_000; {
		request := g.Batch(1000)
		enc, err := otlpspan.AppendProto(nil, request)
		require.NoError(t, err)
		bytes, sent = bytes+float64(len(enc)), sent+float64(len(request.Spans))
	}
	t.Logf("%.1f attributes and %.0f OTLP bytes a span, %.2f %% errors, %.2f %% slow", attrs/n, bytes/sent, errors/n*100, slow/n*100)
	require.InDelta(t, 415, bytes/sent, 8, "OTLP bytes a span")
}

func TestWorkloadTracesAreWhole(t *testing.T) {
	b := testkit.NewGenerator(3).Batch(5000)
	type key struct {
		t spanid.TraceID
		s spanid.SpanID
	}
	spans := map[key]*store.Span{}
	for i := range b.Spans {
		spans[key{b.Spans[i].TraceID, b.Spans[i].SpanID}] = &b.Spans[i]
	}
	require.Len(t, spans, len(b.Spans), "span ids are unique")
	for _, s := range spans {
		require.LessOrEqual(t, s.StartNano, s.EndNano)
		if s.ParentID.IsZero() {
			continue
		}
		p := spans[key{s.TraceID, s.ParentID}]
		require.NotNil(t, p, "the parent is in the batch")
		require.GreaterOrEqual(t, s.StartNano, p.StartNano)
		require.LessOrEqual(t, s.EndNano, p.EndNano+1)
	}
}

func TestGeneratorsAreDeterministic(t *testing.T) {
	require.Equal(t, testkit.NewGenerator(7).Batch(500), testkit.NewGenerator(7).Batch(500))
	require.NotEqual(t, testkit.NewGenerator(7).Batch(500), testkit.NewGenerator(8).Batch(500))
	require.Equal(t, testkit.NewNasty(7).Batch(300), testkit.NewNasty(7).Batch(300))
	g := testkit.NewGenerator(7)
	require.NotEqual(t, g.Batch(500), g.Batch(500), "each call makes new traces")
	require.Len(t, testkit.NewNasty(1).Batch(500).Spans, 500)
	require.GreaterOrEqual(t, testkit.NewGenerator(7).Traces(500).SpanCount(), 500)
}

// TestNastyIsNasty makes sure that the cases that tests rely on do occur.
func TestNastyIsNasty(t *testing.T) {
	b := testkit.NewNasty(1).Batch(4000)
	found := map[string]bool{}
	type key struct {
		t spanid.TraceID
		s spanid.SpanID
		k int32
	}
	ids := map[key]bool{}
	types := map[string]map[store.ValueType]bool{}
	for i := range b.Spans {
		s := &b.Spans[i]
		k := key{s.TraceID, s.SpanID, s.Kind}
		found["duplicate span"] = found["duplicate span"] || ids[k]
		ids[k] = true
		found["end before start"] = found["end before start"] || s.EndNano < s.StartNano
		found["time zero"] = found["time zero"] || s.StartNano == 0
		found["time beyond int64"] = found["time beyond int64"] || s.EndNano > 1<<63
		found["own parent"] = found["own parent"] || s.ParentID == s.SpanID && !s.SpanID.IsZero()
		found["zero trace id"] = found["zero trace id"] || s.TraceID.IsZero()
		found["unknown kind"] = found["unknown kind"] || s.Kind > 5 || s.Kind < 0
		seen := map[string]bool{}
		for _, a := range s.Attrs {
			found["duplicate key"] = found["duplicate key"] || seen[a.Key]
			seen[a.Key] = true
			found["empty key"] = found["empty key"] || a.Key == ""
			found["huge value"] = found["huge value"] || len(a.Value.Str) > 60_000
			if types[a.Key] == nil {
				types[a.Key] = map[store.ValueType]bool{}
			}
			types[a.Key][a.Value.Type] = true
		}
	}
	for _, what := range []string{
		"duplicate span", "end before start", "time zero", "time beyond int64", "own parent", "zero trace id", "unknown kind",
		"duplicate key", "empty key", "huge value",
	} {
		require.True(t, found[what], what)
	}
	require.Len(t, types["a"], 8, "one key with all types")
}
