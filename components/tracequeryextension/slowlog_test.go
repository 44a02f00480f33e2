package tracequeryextension

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/internal/query"
)

func TestSlowLog(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	log := zap.New(core)
	slow := query.Done{
		Kind: "search", Query: strings.Repeat("x", 5000), StartNano: 1e9, EndNano: 3e9, Wait: 3 * time.Second, Took: 2 * time.Second,
		Estimate: query.Estimate{Spans: 1000}, Stats: query.Stats{Spans: 10}, Err: errors.New("gave up"),
	}
	logSlow(log, 0, slow)
	logSlow(log, 6*time.Second, slow)
	require.Zero(t, logs.Len())
	logSlow(log, 5*time.Second, slow)
	require.Equal(t, 1, logs.Len())
	fields := logs.All()[0].ContextMap()
	require.EqualValues(t, 1000, fields["estimated_spans"])
	require.EqualValues(t, 10, fields["inspected_spans"])
	require.Equal(t, 2*time.Second, fields["range"])
	require.Equal(t, "gave up", fields["error"])
	require.Less(t, len(fields["query"].(string)), 2100)
}
