package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/bramble-tracing/bramble/test/harness"
)

// documents are the pages whose commands are run and whose data sources are checked.
var documents = []string{"README.md", "docs/api.md"}

// block is a fenced block of a page.
type block struct {
	language, text string
	line           int
}

func blocks(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(harness.Root(t, page))
	require.NoError(t, err)
	var out []block
	var open *block
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		fence, found := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case found && open == nil:
			open = &block{language: fence, line: n}
		case found:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	require.Nil(t, open, "%s: a block does not end", page)
	return out
}

// command is one command of a console block with the output that the page shows, if any.
type command struct {
	text, output string
	line         int
}

// commands cuts a console block. A command begins with a dollar sign and goes on while it is indented: outputs are not.
func commands(b block) []command {
	var out []command
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		text, begins := strings.CutPrefix(line, "$ ")
		switch {
		case begins:
			out = append(out, command{text: text, line: b.line + 1 + i})
		case len(out) == 0:
		case strings.HasPrefix(line, "    ") && out[len(out)-1].output == "" && !strings.HasPrefix(out[len(out)-1].text, "make"):
			out[len(out)-1].text += "\n" + line
		default:
			out[len(out)-1].output += line + "\n"
		}
	}
	return out
}

// TestDocumentedCalls runs the commands of each page in one shell against the shipped configuration. Outputs that the
// page shows must have the same form: JSON the same keys and kinds of values, other text the same words.
func TestDocumentedCalls(t *testing.T) {
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the commands of the documentation need %s", program)
		}
	}
	for _, page := range documents {
		t.Run(page, func(t *testing.T) {
			var list []command
			for _, b := range blocks(t, page) {
				if b.language != "console" {
					continue
				}
				for _, c := range commands(b) {
					if !strings.HasPrefix(c.text, "make ") { // The test builds, starts and tests by itself.
						list = append(list, c)
					}
				}
			}
			require.NotEmpty(t, list)
			b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
			outputs := runAll(t, b, list)
			for i, c := range list {
				if c.output != "" {
					where := fmt.Sprintf("%s:%d: %s", page, c.line, c.text)
					requireSameForm(t, where, c.output, outputs[i])
				}
			}
		})
	}
}

// runAll runs commands in one shell, so that variables live on, and returns their outputs.
func runAll(t *testing.T, b *harness.Bramble, list []command) []string {
	t.Helper()
	const mark = "--- next ---"
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, c := range list {
		text := strings.NewReplacer("localhost:3200", b.QueryAddr(), "localhost:4318", b.HTTP()).Replace(c.text)
		fmt.Fprintf(&script, "%s\necho; echo '%s'\n", text, mark)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s", out, stderr.String())
	parts := strings.Split(string(out), "\n"+mark+"\n")
	require.Len(t, parts, len(list)+1)
	for i, p := range parts[:len(list)] {
		require.NotContains(t, p, "404 page not found", "%s", list[i].text)
		if strings.Contains(list[i].text, "curl") && !strings.Contains(list[i].text, "-w ") {
			require.NotEmpty(t, p, "%s", list[i].text)
		}
		if strings.Contains(list[i].text, "/api/") && strings.HasPrefix(list[i].text, "curl") && list[i].output == "" {
			require.True(t, strings.HasPrefix(p, "{"), "%s: %s", list[i].text, p)
			require.NotContains(t, p, `"traces":[]`, "%s", list[i].text)
			require.NotContains(t, p, `"series":[]`, "%s", list[i].text)
		}
	}
	return parts
}

func requireSameForm(t *testing.T, where, want, got string) {
	t.Helper()
	want, got = strings.TrimSpace(want), strings.TrimSpace(got)
	if !strings.HasPrefix(want, "{") {
		require.Equal(t, want, got, where)
		return
	}
	var w, g any
	require.NoError(t, json.Unmarshal([]byte(want), &w), where)
	require.NoError(t, json.Unmarshal([]byte(got), &g), "%s: %s", where, got)
	require.Equal(t, form(w), form(g), where)
}

// varying are keys whose values differ from run to run or depend on how spans are stored.
var varying = map[string]bool{
	"traceId": true, "spanId": true, "parentSpanId": true, "traceID": true, "spanID": true, "startTimeUnixNano": true, "endTimeUnixNano": true,
	"inspectedBytes": true, "inspectedSpans": true, "inspectedTraces": true,
}

// form is a decoded answer without what varies.
func form(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if k == "metrics" {
				continue
			}
			if varying[k] {
				e = fmt.Sprintf("%T", e)
			}
			out[k] = form(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = form(e)
		}
		return out
	}
	return v
}

// TestDocumentedDataSources: the provisioning that pages show is valid, streams, and refers to data sources that it has.
func TestDocumentedDataSources(t *testing.T) {
	kinds := map[string]bool{}
	for _, page := range documents {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" || !strings.Contains(b.text, "datasources:") {
				continue
			}
			where := fmt.Sprintf("%s:%d", page, b.line)
			var p struct {
				APIVersion  int `yaml:"apiVersion"`
				Datasources []struct {
					Name, UID, Type, Access, URL string
					JSONData                     map[string]any `yaml:"jsonData"`
				}
			}
			d := yaml.NewDecoder(strings.NewReader(b.text))
			d.KnownFields(true)
			require.NoError(t, d.Decode(&p), where)
			require.Equal(t, 1, p.APIVersion, where)
			uids := map[string]bool{}
			for _, s := range p.Datasources {
				uids[s.UID] = true
				kinds[s.Type] = true
				assert.NotEmpty(t, s.URL, where)
				assert.Equal(t, "proxy", s.Access, where)
			}
			tempo := p.Datasources[0]
			require.Equal(t, "tempo", tempo.Type, where)
			assert.Equal(t, "http://localhost:3200", tempo.URL, where)
			assert.Equal(t, map[string]any{"search": true, "metrics": true}, tempo.JSONData["streamingEnabled"], where)
			for _, link := range []string{"serviceMap", "tracesToLogsV2", "tracesToMetrics"} {
				to, _ := tempo.JSONData[link].(map[string]any)
				assert.True(t, uids[fmt.Sprint(to["datasourceUid"])], "%s: %s leads to %v", where, link, to["datasourceUid"])
			}
		}
	}
	for _, kind := range []string{"tempo", "loki", "grafana-opensearch-datasource", "prometheus"} {
		assert.True(t, kinds[kind], "no data source of type %s is shown", kind)
	}
}
