package reload

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestCommandLine runs what users have in their CI.
func TestCommandLine(t *testing.T) {
	s := &subject{t: t}
	text, err := os.ReadFile(harness.Root(t, "config", "local.yaml"))
	require.NoError(t, err)
	s.good = string(text)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	good, bad := file("good.yaml", s.good), file("bad.yaml", s.edited("processors::pii::mod", "report"))
	other := file("other.yaml", s.edited("processors::pii::mode", "report", "exporters::debug", nil, "service::pipelines::traces::exporters+", "debug"))
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
	}{
		// Light: the ports of the shipped configuration may be in use where the test runs.
		"check good":           {[]string{"config", "check", "--light", good}, 0, []string{"good.yaml: good"}},
		"check bad":            {[]string{"config", "check", bad}, 1, []string{"bad.yaml: bad", "mod"}},
		"check with set":       {[]string{"config", "check", "--light", good, "--set", "processors.pii.mod=report"}, 1, []string{"mod"}},
		"check nothing":        {[]string{"config", "check"}, 1, []string{"bramble config check FILE"}},
		"check a missing file": {[]string{"config", "check", filepath.Join(dir, "none.yaml")}, 1, []string{"none.yaml"}},
		"diff equal":           {[]string{"config", "diff", good, "--with", good}, 0, []string{"no difference"}},
		"diff": {[]string{"config", "diff", other, "--with", good}, 1, []string{
			"~ processors::pii::mode: enforce -> report", "+ exporters::debug", "~ service::pipelines::traces::exporters: [trace_store trace_metrics] -> [trace_store trace_metrics debug]",
		}},
		"diff with nobody": {[]string{"config", "diff", good, "--url", "http://127.0.0.1:1"}, 2, []string{"ask the running Bramble"}},
		"diff with bad":    {[]string{"config", "diff", bad, "--with", good}, 2, []string{"mod"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := harness.Command(t, tc.args...)
			assert.Equal(t, tc.code, code, out)
			for _, want := range tc.want {
				assert.Contains(t, out, want)
			}
		})
	}
}

// TestDiffWithTheRunning compares a file with what runs.
func TestDiffWithTheRunning(t *testing.T) {
	s := start(t)
	code, out := harness.Command(t, "config", "diff", s.path, "--url", "http://"+s.QueryAddr())
	// The harness moves listeners and directories: those differ, and nothing else does.
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "extensions::trace_query::endpoint")
	assert.NotContains(t, out, "processors::")
	assert.NotContains(t, out, "service::pipelines")
}
