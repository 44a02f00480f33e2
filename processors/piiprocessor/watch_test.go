package piiprocessor

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/internal/pii"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadata"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadatatest"
)

// boardOf returns the process's board.
func boardOf(tb testing.TB) *pii.Board {
	tb.Helper()
	b, release, err := procstate.Default.Acquire(pii.BoardKey, "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: &pii.Board{}}, nil
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, release()) })
	return b.(*pii.Board)
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
}

// TestWatch edits the rule file of a running processor: good rules are taken within a second, bad ones refused once and
// the old ones stay, and a key of which the file is gone changes nothing.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, path, "rules: {emails: {replacement: <one>}}")
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		set := processortest.NewNopSettings(metadata.Type)
		set.ID = component.MustNewIDWithName("pii", "watch")
		set.Logger = zap.New(core)
		cfg := createDefaultConfig().(*Config)
		cfg.RulesFile = path
		p, err := NewFactory().CreateTraces(t.Context(), set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		name := func() string {
			td := ptrace.NewTraces()
			s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			s.SetName("alice@example.com")
			require.NoError(t, p.ConsumeTraces(t.Context(), td))
			return s.Name()
		}
		second := func() {
			time.Sleep(1100 * time.Millisecond) // The bubble's clock.
			synctest.Wait()
		}
		problem := func() string {
			for _, s := range boardOf(t).Snapshots() {
				if s.Component == "pii/watch" {
					return s.Problem
				}
			}
			return "no ledger"
		}
		assert.Equal(t, "<one>", name())
		second()
		assert.Equal(t, "<one>", name())

		write(t, path, "rules: {emails: {replacement: <two>}}")
		second()
		assert.Equal(t, "<two>", name())

		for i, bad := range []string{"rules: {emails: {action: burn}}", "rules: [", "", "rules: {emails: {action: hash}}", "rules: {emails: {replacement: a@example.com}}"} {
			write(t, path, bad)
			second()
			second()
			assert.Equal(t, "<two>", name(), bad)
			assert.Equal(t, i+1, logs.FilterMessageSnippet("refused").Len(), "logged once: %q", bad)
			assert.NotEmpty(t, problem(), bad)
		}
		require.NoError(t, os.Remove(path))
		second()
		assert.Equal(t, "<two>", name())

		write(t, path, "rules: {emails: {replacement: <three>}}")
		second()
		assert.Equal(t, "<three>", name())
		assert.Empty(t, problem())
		require.NoError(t, p.Shutdown(t.Context()))
	})
}

func TestStartNeedsUsableRules(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.yaml"), "rules: {emails: {action: burn}}")
	write(t, filepath.Join(dir, "empty-key"), " \n")
	write(t, filepath.Join(dir, "short-key"), "short")
	hash := map[string]pii.RuleConfig{"emails": {Action: "hash"}}
	tests := []struct {
		want   string
		change func(*Config)
	}{
		{"no such file", func(c *Config) { c.RulesFile = filepath.Join(dir, "none.yaml") }},
		{"rules::emails::action", func(c *Config) { c.RulesFile = filepath.Join(dir, "bad.yaml") }},
		{"hash_key::env: the environment variable PII_NOT_SET is empty", func(c *Config) { c.Rules, c.HashKey.Env = hash, "PII_NOT_SET" }},
		{"hash_key::file: read the key", func(c *Config) { c.Rules, c.HashKey.File = hash, filepath.Join(dir, "none") }},
		{"is empty", func(c *Config) { c.Rules, c.HashKey.File = hash, filepath.Join(dir, "empty-key") }},
		{"at least 16", func(c *Config) { c.Rules, c.HashKey.File = hash, filepath.Join(dir, "short-key") }},
		{"needs a hash key", func(c *Config) { c.Rules = hash }},
	}
	for _, tt := range tests {
		cfg := createDefaultConfig().(*Config)
		tt.change(cfg)
		p, err := NewFactory().CreateTraces(context.Background(), processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.ErrorContains(t, cfg.Check(t.Context()), tt.want, "the check finds what the start does")
		require.ErrorContains(t, p.Start(context.Background(), componenttest.NewNopHost()), tt.want)
		require.NoError(t, p.Shutdown(context.Background()), "the Collector shuts down what failed to start")
	}
}

func TestLoadsAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, path, "rules: {}")
	tel := componenttest.NewTelemetry()
	cfg := createDefaultConfig().(*Config)
	cfg.RulesFile = path
	p, err := newProcessor(metadatatest.NewSettings(tel), cfg)
	require.NoError(t, err)
	require.NoError(t, p.start(context.Background(), componenttest.NewNopHost()))
	close(p.stop)
	p.done.Wait()
	p.stop = nil
	write(t, path, "nonsense")
	p.poll(context.Background())
	p.poll(context.Background())
	m, err := tel.GetMetric("otelcol_processor_pii_rule_loads")
	require.NoError(t, err)
	got := map[string]int64{}
	for _, dp := range m.Data.(metricdata.Sum[int64]).DataPoints {
		v, _ := dp.Attributes.Value("outcome")
		got[v.AsString()] = dp.Value
	}
	assert.Equal(t, map[string]int64{"accepted": 1, "refused": 1}, got)
	require.NoError(t, p.shutdown(context.Background()))
	require.NoError(t, tel.Shutdown(context.Background()))
}
