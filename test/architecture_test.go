// Package test holds the checks that concern the tree as a whole.
package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/bramble-tracing/bramble"

// rule is one row of the table "Who may import whom" in docs/architecture.md. Deny is about all dependencies,
// transitive ones included; own lists the packages of this module that may be among them.
type rule struct {
	packages []string // path.Match patterns below the module; a trailing /... covers what is below
	own      []string // allowed packages of this module, same patterns; the package itself is always allowed
	anyOwn   bool     // own packages are not restricted by this rule
	deny     []string // import path prefixes that must not be reached
	why      string
}

var rules = []rule{
	{
		packages: []string{"internal/spanid", "internal/fsx", "internal/memlimit", "internal/gcpace", "internal/pii"},
		deny:     []string{"go.opentelemetry.io/collector", "net/http"},
		why:      "leaf packages know nothing of ours, of the Collector or of HTTP",
	},
	{
		packages: []string{"internal/owner"},
		own:      []string{"internal/spanid"},
		deny:     []string{"go.opentelemetry.io", "net"},
		why:      "who owns a trace follows from names and ids",
	},
	{
		packages: []string{"internal/store"},
		own:      []string{"internal/spanid"},
		deny:     []string{"go.opentelemetry.io", "net", "google.golang.org"},
		why:      "the contract is types only",
	},
	{
		packages: []string{"internal/traceql/ast", "internal/traceql/lexer", "internal/traceql/parser"},
		own:      []string{"internal/spanid", "internal/traceql/ast", "internal/traceql/lexer"},
		deny:     []string{"go.opentelemetry.io", "net"},
		why:      "the language is pure",
	},
	{
		packages: []string{"internal/traceql/plan"},
		own:      []string{"internal/spanid", "internal/store", "internal/traceql/ast", "internal/traceql/lexer", "internal/traceql/parser"},
		deny:     []string{"go.opentelemetry.io", "net"},
		why:      "planning is pure; predicates are the contract's",
	},
	{
		packages: []string{"internal/traceql/exec"},
		own:      []string{"internal/spanid", "internal/store", "internal/memlimit", "internal/traceql", "internal/traceql/..."},
		deny:     []string{"go.opentelemetry.io", "net/http"},
		why:      "the executor meets the engine only in the contract",
	},
	{
		packages: []string{"internal/tracedb", "internal/tracedb/..."},
		own:      []string{"internal/store", "internal/fsx", "internal/memlimit", "internal/spanid", "internal/otlpspan", "internal/spansize", "internal/tracedb/..."},
		deny:     []string{"net/http", "go.opentelemetry.io/collector/component", "go.opentelemetry.io/collector/exporter", "go.opentelemetry.io/collector/extension"},
		why:      "the engine knows neither the language nor the Collector's components",
	},
	{
		packages: []string{"internal/otlpspan"},
		own:      []string{"internal/spanid", "internal/store"},
		deny:     []string{"net/http", "go.opentelemetry.io/collector/component"},
		why:      "one place knows both pdata and rows, and nothing else",
	},
	{
		packages: []string{"internal/federation"},
		own: []string{
			"internal/query", "internal/store", "internal/store/gathered", "internal/spanid", "internal/otlpspan", "internal/federation/...",
			// reached through query
			"internal/traceql", "internal/traceql/...", "internal/memlimit", "internal/owner",
		},
		deny: []string{"go.opentelemetry.io/collector/component", "go.opentelemetry.io/collector/extension"},
		why:  "federation moves queries and answers, it does not run them",
	},
	{
		packages: []string{"internal/federation/peerpb"},
		why:      "messages only",
	},
	{
		packages: []string{"internal/store/gathered"},
		own:      []string{"internal/store", "internal/spanid"},
		deny:     []string{"go.opentelemetry.io", "net", "google.golang.org"},
		why:      "a view of rows knows rows only",
	},
	{
		packages: []string{"internal/query"},
		own:      []string{"internal/traceql", "internal/traceql/...", "internal/store", "internal/store/gathered", "internal/memlimit", "internal/owner", "internal/spanid"},
		deny:     []string{"net/http", "go.opentelemetry.io/collector"},
		why:      "the query service knows no wire format and no engine",
	},
	{
		packages: []string{"internal/tempoapi", "internal/jaegerapi", "internal/mcpapi"},
		own: []string{
			"internal/query", "internal/otlpspan", "internal/spanid", "internal/tempopb", "internal/jaegerpb", "internal/webmount",
			// reached through query
			"internal/traceql", "internal/traceql/...", "internal/store", "internal/store/gathered", "internal/memlimit", "internal/owner",
		},
		why: "the APIs only encode",
	},
	{
		packages: []string{"internal/spansize"},
		own:      []string{"internal/store", "internal/spanid"},
		deny:     []string{"go.opentelemetry.io", "net"},
		why:      "sizes are computed from rows",
	},
	{
		packages: []string{"internal/tracemetrics"},
		own:      []string{"internal/store", "internal/spanid", "internal/spansize"},
		deny:     []string{"net/http", "go.opentelemetry.io/collector/component"},
		why:      "counting knows rows and pmetric, nothing of components",
	},
	{
		packages: []string{"internal/exthost", "internal/webmount", "internal/procstate", "internal/volume", "internal/conftree"},
		why:      "glue that knows nothing of ours",
	},
	{
		packages: []string{"internal/keptport"},
		own:      []string{"internal/procstate"},
		why:      "ports know who keeps them, not what is served on them",
	},
	{
		packages: []string{"internal/liveconfig"},
		own:      []string{"internal/procstate"},
		deny:     []string{"go.opentelemetry.io/collector"},
		why:      "guarding bytes needs neither their meaning nor the Collector",
	},
	{
		packages: []string{"internal/kubenotice"},
		own:      []string{"internal/liveconfig", "internal/procstate"},
		why:      "telling Kubernetes needs verdicts only",
	},
	{
		packages: []string{"internal/selfcheck"},
		own:      []string{"internal/procstate"},
		deny:     []string{"go.opentelemetry.io", "net/http"},
		why:      "whoever checks something says it in the same form",
	},
	{
		packages: []string{"internal/kubecheck"},
		own:      []string{"internal/selfcheck", "internal/procstate", "internal/conftree"},
		deny:     []string{"go.opentelemetry.io/collector"},
		why:      "what a configuration needs of Kubernetes follows from its text",
	},
	{
		packages: []string{"internal/doctor"},
		own:      []string{"internal/selfcheck", "internal/procstate", "internal/conftree", "internal/kubecheck", "internal/volume"},
		deny:     []string{"go.opentelemetry.io/collector/component"},
		why:      "the doctor sees an agent from outside",
	},
	{
		packages: []string{"internal/configcheck"},
		own:      []string{"internal/liveconfig", "internal/procstate"},
		why:      "any component can be checked, so none is named",
	},
	{
		packages: []string{"internal/sampling"},
		own:      []string{"internal/store", "internal/spanid", "internal/spansize", "internal/traceql", "internal/traceql/...", "internal/memlimit"},
		deny:     []string{"go.opentelemetry.io/collector/component", "go.opentelemetry.io/collector/pdata"},
		why:      "policies are evaluated over the contract",
	},
	{
		packages: []string{"exporters/...", "processors/...", "components/..."},
		own:      []string{"internal/...", "exporters/*/internal/...", "processors/*/internal/...", "components/*/internal/..."},
		why:      "components do not import each other",
	},
	{
		packages: []string{"internal/...", "exporters/...", "processors/...", "components/..."},
		anyOwn:   true,
		deny:     []string{"github.com/grafana/tempo"},
		why:      "Tempo's engine and language are AGPL",
	},
}

// listed is what `go list -json` says of one package.
type listed struct {
	ImportPath string
	Deps       []string
	Standard   bool
}

func TestWhoMayImportWhom(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps", "./internal/...", "./exporters/...", "./processors/...", "./components/...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	require.NoError(t, err)
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		seen++
		own, ok := strings.CutPrefix(p.ImportPath, module+"/")
		require.True(t, ok, p.ImportPath)
		for _, r := range rules {
			if matchAny(r.packages, own) {
				for _, v := range r.violations(own, p.Deps) {
					t.Error(v)
				}
			}
		}
	}
	assert.Greater(t, seen, 5, "go list found next to nothing: the check did not run")
}

// violations lists what pkg depends on against the rule.
func (r *rule) violations(pkg string, deps []string) (out []string) {
	for _, dep := range deps {
		for _, d := range r.deny {
			if dep == d || strings.HasPrefix(dep, d+"/") {
				out = append(out, fmt.Sprintf("%s depends on %s: %s", pkg, dep, r.why))
			}
		}
		ours, ok := strings.CutPrefix(dep, module+"/")
		if !ok || r.anyOwn || ours == pkg || strings.HasPrefix(ours, pkg+"/internal/") {
			continue
		}
		if !matchAny(r.own, ours) {
			out = append(out, fmt.Sprintf("%s depends on %s: %s", pkg, ours, r.why))
		}
	}
	return out
}

func matchAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		base, below := strings.CutSuffix(p, "/...")
		if ok, err := path.Match(base, pkg); err == nil && ok {
			return true
		}
		if !below {
			continue
		}
		// Compare as many leading elements as the pattern has.
		n := strings.Count(base, "/") + 1
		parts := strings.Split(pkg, "/")
		if len(parts) <= n {
			continue
		}
		if ok, err := path.Match(base, strings.Join(parts[:n], "/")); err == nil && ok {
			return true
		}
	}
	return false
}

// TestRulesCanFail shows that the check sees a violation.
func TestRulesCanFail(t *testing.T) {
	for _, tc := range []struct {
		patterns []string
		pkg      string
		want     bool
	}{
		{[]string{"internal/store"}, "internal/store", true},
		{[]string{"internal/store"}, "internal/store/oracle", false},
		{[]string{"internal/tracedb/..."}, "internal/tracedb/internal/wal", true},
		{[]string{"internal/tracedb/..."}, "internal/tracedb2", false},
		{[]string{"exporters/*/internal/..."}, "exporters/a/internal/metadata", true},
		{[]string{"exporters/*/internal/..."}, "exporters/a", false},
	} {
		assert.Equal(t, tc.want, matchAny(tc.patterns, tc.pkg), "%v %s", tc.patterns, tc.pkg)
	}
	denied := rule{deny: []string{"net/http"}}
	assert.Len(t, denied.violations("internal/x", []string{"net/http/httptest", "net"}), 1)
	closed := rule{own: []string{"internal/a"}}
	assert.Len(t, closed.violations("internal/x", []string{module + "/internal/a", module + "/internal/b"}), 1)
}
