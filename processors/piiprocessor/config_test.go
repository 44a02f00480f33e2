package piiprocessor

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/bramble-tracing/bramble/internal/pii"
)

func loadConfig(tb testing.TB, name string) (*Config, error) {
	tb.Helper()
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(tb, err)
	id := component.MustNewID("pii")
	if name != "" {
		id = component.MustNewIDWithName("pii", name)
	}
	require.True(tb, cm.IsSet(id.String()), "testdata has no %s", id)
	sub, err := cm.Sub(id.String())
	require.NoError(tb, err)
	cfg := createDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	yes, no, four := true, false, 4
	tests := []struct {
		name string
		want *Config
		err  string
	}{
		{name: "", want: &Config{Mode: "enforce", MaxServices: 200}},
		{name: "report", want: &Config{Mode: "report", MaxServices: 20}},
		{name: "rules", want: &Config{
			Mode: "enforce", MaxServices: 200, MarkSpans: true, HashKey: HashKeyConfig{Env: "PII_TEST_KEY"},
			Config: pii.Config{
				AllowKeys: []string{"app.build.*"},
				Rules: map[string]pii.RuleConfig{
					"emails":         {Action: "hash", Places: []string{"span", "event"}, AllowKeys: []string{"support.contact"}},
					"cards":          {Action: "mask", KeepLast: &four},
					"ip_addresses":   {Enabled: &yes},
					"url_query":      {AllowParameters: []string{"page", "id"}},
					"statements":     {Hash: "statement"},
					"jwt":            {Enabled: &no},
					"employee_ids":   {Patterns: []string{`\bEMP-\d{6}\b`}, Action: "drop"},
					"internal_notes": {Keys: []string{"app.note", "*.note"}, Action: "drop_span"},
				},
			},
		}},
		{name: "file", want: &Config{
			Mode: "enforce", MaxServices: 200, RulesFile: "/etc/bramble/pii-rules.yaml", HashKey: HashKeyConfig{File: "/etc/bramble/pii-key"},
		}},
		{name: "bad_mode", err: `mode: "loud" is neither enforce nor report`},
		{name: "bad_file_and_rules", err: "rules_file: takes the place of rules"},
		{name: "bad_action", err: `rules::emails::action: "burn" is none of`},
		{name: "bad_hash", err: "rules::emails: action hash needs a hash key"},
		{name: "bad_pattern", err: "rules::own::patterns[0]"},
		{name: "bad_key_sources", err: "hash_key: give env or file, not both"},
		{name: "bad_services", err: "max_services: -1 is not between"},
	}
	for _, tt := range tests {
		t.Run("pii/"+tt.name, func(t *testing.T) {
			cfg, err := loadConfig(t, tt.name)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, cfg)
		})
	}
}

func TestUnknownFieldIsRefused(t *testing.T) {
	_, err := parseRules([]byte("rules: {emails: {acton: hash}}"))
	require.ErrorContains(t, err, "acton")
	_, err = parseRules([]byte("ruels: {}"))
	require.ErrorContains(t, err, "ruels")
	_, err = parseRules([]byte("rules: {a: {keys: [x]}, a: {keys: [y]}}"))
	require.Error(t, err, "a key twice")
	for _, empty := range []string{"", "\n", "# nothing"} {
		_, err = parseRules([]byte(empty))
		require.ErrorContains(t, err, "rules: {}", empty)
	}
	cfg, err := parseRules([]byte("rules: {}"))
	require.NoError(t, err)
	assert.Empty(t, cfg.Rules)
}
