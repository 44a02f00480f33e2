package tracemetricsconnector

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/bramble-tracing/bramble/internal/tracemetrics"
)

const grafanaDir = "../../docs/grafana"

// exposed is every metric that Bramble shows: its own documented ones, those of traces, and what was recorded from the
// binary (docs/grafana/testdata/exposed.txt).
func exposed(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"up": true}
	f, err := os.Open(filepath.Join(grafanaDir, "testdata", "exposed.txt"))
	require.NoError(t, err)
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' {
			names[line] = true
		}
	}
	docs, err := filepath.Glob("../../*/*/documentation.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	for _, d := range docs {
		text, err := os.ReadFile(d)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
				names[name] = true
			}
		}
	}
	for _, name := range tracemetrics.Names() {
		names[name] = true
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			names[name+suffix] = true
		}
	}
	return names
}

// checkQuery parses PromQL and returns the metrics it names.
func checkQuery(t *testing.T, names map[string]bool, where, query string) {
	t.Helper()
	// Grafana fills these in.
	query = strings.NewReplacer(
		"$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m", "$$__tags", `service="x"`, "$__tags", `service="x"`,
	).Replace(query)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, "%s: %s", where, query)
	n := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			n++
			assert.True(t, names[s.Name], "%s: no metric is called %q", where, s.Name)
		}
		return nil
	})
	assert.Positive(t, n, "%s asks for no metric", where)
}

func TestDashboards(t *testing.T) {
	names := exposed(t)
	files, err := filepath.Glob(filepath.Join(grafanaDir, "dashboards", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		var d struct {
			Title, UID string
			Templating struct {
				List []struct {
					Name  string          `json:"name"`
					Type  string          `json:"type"`
					Query json.RawMessage `json:"query"`
				} `json:"list"`
			} `json:"templating"`
			Panels []struct {
				ID      int    `json:"id"`
				Type    string `json:"type"`
				Title   string `json:"title"`
				GridPos struct{ H, W, X, Y int }
				Targets []struct {
					Expr  string `json:"expr"`
					RefID string `json:"refId"`
				} `json:"targets"`
			} `json:"panels"`
		}
		require.NoError(t, json.Unmarshal(text, &d), f)
		assert.NotEmpty(t, d.UID)
		var variables []string
		for _, v := range d.Templating.List {
			variables = append(variables, v.Name)
			var q struct{ Query string }
			if v.Type == "query" && json.Unmarshal(v.Query, &q) == nil {
				metric, _, _ := strings.Cut(strings.TrimPrefix(q.Query, "label_values("), ",")
				metric, _, _ = strings.Cut(metric, "{")
				assert.True(t, names[metric], "%s: variable %s: no metric is called %q", f, v.Name, metric)
			}
		}
		assert.Contains(t, variables, "metrics")
		ids, taken := make(map[int]bool), make(map[[2]int]string)
		for _, p := range d.Panels {
			assert.False(t, ids[p.ID], "%s: id %d stands twice", f, p.ID)
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					assert.Empty(t, taken[[2]int{x, y}], "%s: %s covers another panel", f, p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type != "row" {
				assert.NotEmpty(t, p.Targets, "%s: %s", f, p.Title)
			}
			for _, target := range p.Targets {
				checkQuery(t, names, f+": "+p.Title, target.Expr)
			}
		}
	}
}

func TestAlerts(t *testing.T) {
	names := exposed(t)
	path := filepath.Join(grafanaDir, "alerts.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(text, &rules))
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			checkQuery(t, names, r.Alert, r.Expr)
			assert.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
			assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
			for _, part := range []string{"Look at:", "Do:"} {
				assert.Contains(t, r.Annotations["runbook"], part, r.Alert)
			}
		}
	}
	assert.Greater(t, n, 8)
	if promtool, err := exec.LookPath("promtool"); err == nil {
		out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput() //nolint:gosec // A test.
		require.NoError(t, err, "%s", out)
	}
}

// TestDatasources: the files parse, every uid that is named is there, and the correlations of the users are in them.
func TestDatasources(t *testing.T) {
	names := exposed(t)
	files, err := filepath.Glob(filepath.Join(grafanaDir, "datasources", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		var p struct {
			APIVersion  int `yaml:"apiVersion"`
			Datasources []struct {
				Name, UID, Type, URL string
				JSONData             map[string]any `yaml:"jsonData"`
			} `yaml:"datasources"`
		}
		require.NoError(t, yaml.Unmarshal(text, &p), f)
		var uids, wanted []string
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, x := range v {
					if s, ok := x.(string); ok && k == "datasourceUid" {
						wanted = append(wanted, s)
					}
					if s, ok := x.(string); ok && k == "query" && strings.Contains(s, "traces_") {
						checkQuery(t, names, f, s)
					}
					walk(x)
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		for _, d := range p.Datasources {
			uids = append(uids, d.UID)
			walk(d.JSONData)
			if d.Type == "tempo" {
				for _, key := range []string{"tracesToLogsV2", "tracesToMetrics", "serviceMap", "nodeGraph"} {
					assert.Contains(t, d.JSONData, key, f)
				}
			}
		}
		assert.Equal(t, []string{"traces", "logs", "metrics"}, uids)
		slices.Sort(wanted)
		assert.Equal(t, []string{"logs", "metrics", "traces"}, slices.Compact(wanted), f)
		// A single dollar would be expanded as an environment variable.
		assert.NotContains(t, strings.ReplaceAll(string(text), "$$", ""), "${", f)
	}
}
