package tempoapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// TestSplit: messages stay below 2 MB, nothing is lost or doubled, an empty answer is one message.
func TestSplit(t *testing.T) {
	long := strings.Repeat("x", 1000)
	metrics := &tempopb.SearchMetrics{CompletedJobs: 1, TotalJobs: 1}
	t.Run("search", func(t *testing.T) {
		for _, n := range []int{0, 1, 5000} {
			in := &tempopb.SearchResponse{Metrics: metrics}
			for i := range n {
				in.Traces = append(in.Traces, &tempopb.TraceSearchMetadata{TraceID: fmt.Sprintf("%x", i+1), RootTraceName: long})
			}
			out, messages := &tempopb.SearchResponse{}, 0
			require.NoError(t, splitSearch(in, func(m *tempopb.SearchResponse) error {
				require.LessOrEqual(t, proto.Size(m), maxMessage)
				require.EqualValues(t, 1, m.GetMetrics().GetTotalJobs())
				out.Traces = append(out.Traces, m.GetTraces()...)
				out.Metrics = m.GetMetrics()
				messages++
				return nil
			}))
			require.True(t, proto.Equal(in, out))
			require.Equal(t, map[int]int{0: 1, 1: 1, 5000: 3}[n], messages)
		}
	})
	t.Run("tags", func(t *testing.T) {
		in := &tempopb.SearchTagsV2Response{}
		for _, scope := range []string{"resource", "span", "empty"} {
			s := &tempopb.SearchTagsV2Scope{Name: scope}
			for i := range 3000 {
				s.Tags = append(s.Tags, fmt.Sprint(i, long))
			}
			in.Scopes = append(in.Scopes, s)
		}
		got := map[string][]string{}
		require.NoError(t, splitTagsV2(in, func(m *tempopb.SearchTagsV2Response) error {
			require.LessOrEqual(t, proto.Size(m), maxMessage)
			for _, s := range m.GetScopes() {
				got[s.GetName()] = append(got[s.GetName()], s.GetTags()...)
			}
			return nil
		}))
		for _, s := range in.GetScopes() {
			require.Equal(t, s.GetTags(), got[s.GetName()])
		}
	})
	t.Run("range", func(t *testing.T) {
		in := &tempopb.QueryRangeResponse{Metrics: metrics, Status: tempopb.PartialStatus_PARTIAL, Message: "cut"}
		for range 100 {
			in.Series = append(in.Series, &tempopb.TimeSeries{Samples: make([]*tempopb.Sample, 5000)})
			for i := range 5000 {
				in.Series[len(in.Series)-1].Samples[i] = &tempopb.Sample{TimestampMs: 1_700_000_000_000, Value: float64(i)}
			}
		}
		var statuses []tempopb.PartialStatus
		series := 0
		require.NoError(t, splitRange(in, func(m *tempopb.QueryRangeResponse) error {
			require.LessOrEqual(t, proto.Size(m), maxMessage)
			statuses = append(statuses, m.GetStatus())
			series += len(m.GetSeries())
			return nil
		}))
		require.Equal(t, 100, series)
		require.Greater(t, len(statuses), 2)
		for i, s := range statuses {
			require.Equal(t, i == len(statuses)-1, s == tempopb.PartialStatus_PARTIAL)
		}
	})
	t.Run("instant", func(t *testing.T) {
		in := &tempopb.QueryInstantResponse{Metrics: metrics}
		for range 3000 {
			in.Series = append(in.Series, &tempopb.InstantSeries{Labels: nil, Value: 1})
		}
		sent := 0
		require.NoError(t, splitInstant(in, func(m *tempopb.QueryInstantResponse) error {
			sent++
			require.Same(t, in, m)
			return nil
		}))
		require.Equal(t, 1, sent)
		in.Message = strings.Repeat("x", maxMessage)
		for i := range in.Series {
			in.Series[i] = &tempopb.InstantSeries{Value: 1}
		}
	})
	t.Run("a failing client ends it", func(t *testing.T) {
		in := &tempopb.SearchTagValuesResponse{TagValues: []string{strings.Repeat("a", maxMessage), "b"}}
		calls := 0
		require.Error(t, splitValues(in, func(*tempopb.SearchTagValuesResponse) error { calls++; return errors.New("gone") }))
		require.Equal(t, 1, calls)
	})
}
