package mcpapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTools lists what Tempo has (P-01), with what a client needs to know before it calls one.
func TestTools(t *testing.T) {
	s := connect(t, serve(t, oracleOf(t), nil))
	require.Equal(t, "bramble", s.InitializeResult().ServerInfo.Name)
	require.Equal(t, "1.2.3", s.InitializeResult().ServerInfo.Version)
	require.Contains(t, s.InitializeResult().Instructions, "docs-traceql")
	list, err := s.ListTools(t.Context(), nil)
	require.NoError(t, err)
	required := map[string][]any{
		"traceql-search": {"query"}, "traceql-metrics-instant": {"query"}, "traceql-metrics-range": {"query"}, "get-trace": {"trace_id"},
		"get-attribute-names": nil, "get-attribute-values": {"name"}, "docs-traceql": nil,
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		require.NotEmpty(t, tool.Description)
		require.True(t, tool.Annotations.ReadOnlyHint, tool.Name)
		got, _ := tool.InputSchema.(map[string]any)["required"].([]any)
		require.Equal(t, required[tool.Name], got, tool.Name)
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(required)), names)
	require.ElementsMatch(t, slices.Collect(maps.Keys(toolNames)), names, "for metrics")
}

// TestAnswers asks each tool about the shop, and compares whole answers.
func TestAnswers(t *testing.T) {
	s := connect(t, serve(t, oracleOf(t, shop()), nil))
	const root = `"spanId":"0000000000000001","name":"GET /cart <1>"`
	for _, c := range []struct {
		tool string
		args args
		want string
	}{
		{
			"traceql-search",
			args{"query": `{ status = error } | select(span.db.system)`},
			`{"traces":[{"traceId":"7f00000000000000000000000000002a","rootService":"shop","rootName":"GET /cart <1>","start":"2026-03-01T11:59:00Z","durationMs":120,` +
				`"services":{"shop":{"Spans":1,"Errors":0},"stock":{"Spans":1,"Errors":1}},` +
				`"spansets":[{"matched":1,"spans":[{"spanId":"0000000000000002","start":"2026-03-01T11:59:00.005Z","durationMs":10,"attributes":{"db.system":"postgresql","status":"error"}}]}]}]}`,
		},
		{"traceql-search", args{"query": `{ status = ok }`}, `{"traces":[]}`},
		{"traceql-search", args{"query": `{ }`, "end": "2026-03-01T11:00:00Z"}, `{"traces":[]}`},
		{
			"traceql-metrics-instant",
			args{"query": `{ } | count_over_time() by (resource.service.name)`},
			`{"series":[{"labels":{"resource.service.name":"shop"},"value":1},{"labels":{"resource.service.name":"stock"},"value":1}]}`,
		},
		{
			"traceql-metrics-range",
			args{"query": `{ } | count_over_time() with(exemplars=false)`, "start": "2026-03-01T11:58:30Z", "end": "2026-03-01T11:59:30+00:00", "step": "30s"},
			`{"series":[{"labels":{"__name__":"count_over_time"},"samples":[[1772366310,0],[1772366340,1],[1772366370,1]]}]}`,
		},
		{
			"get-trace",
			args{"trace_id": "7f00000000000000000000000000002A"},
			`{"traceId":"7f00000000000000000000000000002a","spanCount":2,"services":[` +
				`{"resource":{"service.name":"shop"},"spans":[{` + root + `,"kind":"server","start":"2026-03-01T11:59:00Z","durationMs":120,"scope":"lib","attributes":` +
				`{"bad":"�","cached":false,"http.response.status_code":500,"list":["a",1],"map":{"k":{}},"ratio":0.5,"raw":"AP8="}}]},` +
				`{"resource":{"service.name":"stock"},"spans":[{"spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"SELECT","kind":"client",` +
				`"start":"2026-03-01T11:59:00.005Z","durationMs":10,"status":"error","statusMessage":"deadlock","scope":"lib","attributes":{"db.system":"postgresql"},` +
				`"events":[{"name":"exception","time":"2026-03-01T11:59:00.006Z","attributes":{"exception.type":"Deadlock"}}],` +
				`"links":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000003"}]}]}]}`,
		},
		{"get-attribute-names", args{"scope": "resource"}, `{"scopes":[{"scope":"resource","names":["service.name"]}]}`},
		{"get-attribute-values", args{"name": "resource.service.name"}, `{"values":[{"type":"string","value":"shop"},{"type":"string","value":"stock"}]}`},
		{"get-attribute-values", args{"name": "resource.service.name", "filter-query": `{ status = error }`}, `{"values":[{"type":"string","value":"stock"}]}`},
		{"get-attribute-values", args{"name": "span.http.response.status_code"}, `{"values":[{"type":"int","value":"500"}]}`},
	} {
		body, failed, err := call(t.Context(), s, c.tool, c.args)
		require.NoError(t, err)
		require.False(t, failed, "%s", body)
		require.Equal(t, c.want, body, "%s %v", c.tool, c.args)
	}
	all := answer[namesAnswer](t, s, "get-attribute-names", nil)
	require.Contains(t, all.Scopes, scopeNames{"event", []string{"exception.type"}})
	require.Greater(t, len(all.Scopes), 3)
}

// TestRefusals: what is wrong is the tool's error, which the model reads, and says what to do.
func TestRefusals(t *testing.T) {
	s := connect(t, serve(t, oracleOf(t, shop()), nil))
	for _, c := range []struct {
		tool string
		args args
		says string
	}{
		{"traceql-search", args{}, `"query"`},
		{"traceql-search", args{"query": ""}, "docs-traceql"},
		{"traceql-search", args{"query": "{ span.a = }"}, "line 1, col 12"},
		{"traceql-search", args{"query": "{ span.a = }"}, "docs-traceql"},
		{"traceql-search", args{"query": 7}, "query"},
		{"traceql-search", args{"query": "{}", "colour": "red"}, "colour"},
		{"traceql-search", args{"query": "{}", "limit": 101}, "between 1 and 100"},
		{"traceql-search", args{"query": "{}", "limit": -1}, "between 1 and 100"},
		{"traceql-search", args{"query": "{}", "start": "yesterday"}, "RFC 3339"},
		{"traceql-search", args{"query": "{}", "start": "1700000000"}, "RFC 3339"},
		{"traceql-search", args{"query": "{}", "end": "1969-12-31T00:00:00Z"}, "1970"},
		{"traceql-search", args{"query": "{}", "end": "2999-12-31T00:00:00Z"}, "2262"},
		{"traceql-search", args{"query": "{}", "start": "2026-03-02T00:00:00Z"}, "before end"},
		{"traceql-search", args{"query": "{}", "start": "2025-03-02T00:00:00Z"}, "limit of 168h"},
		{"traceql-search", args{"query": `{ name = "` + strings.Repeat("x", maxQuery) + `" }`}, "maximum of 131072"},
		{"traceql-metrics-instant", args{"query": "{ }"}, "metrics"},
		{"traceql-metrics-instant", args{"query": "{ } | rate()", "start": "2026-02-27T00:00:00Z"}, "limit of 24h"},
		{"traceql-metrics-range", args{"query": "{ } | rate()", "step": "soon"}, "30s"},
		{"traceql-metrics-range", args{"query": "{ } | rate()", "step": "-1s"}, "above 0"},
		{"traceql-metrics-range", args{"query": "{ } | rate()", "step": "1s"}, "more than 1000 samples"},
		{"get-trace", args{"trace_id": "xyz"}, "trace_id"},
		{"get-trace", args{"trace_id": ""}, "trace_id"},
		{"get-trace", args{"trace_id": "123"}, "there is no trace 00000000000000000000000000000123"},
		{"get-attribute-names", args{"scope": "planet"}, "resource, span"},
		{"get-attribute-values", args{"name": ""}, "get-attribute-names"},
		{"get-attribute-values", args{"name": "planet"}, "planet"},
		{"docs-traceql", args{"name": "../tools"}, "basic, aggregates"},
	} {
		body, failed, err := call(t.Context(), s, c.tool, c.args)
		require.NoError(t, err, "%s %v", c.tool, c.args)
		require.True(t, failed, "%s %v: %s", c.tool, c.args, body)
		require.Contains(t, body, c.says, "%s", c.tool)
		require.Less(t, len(body), 2*maxText)
	}
	_, _, err := call(t.Context(), s, "traceql-guess", nil)
	require.ErrorContains(t, err, "traceql-guess")
}

var example = regexp.MustCompile("(?s)```(traceql[ a-z]*)\n(.*?)```")

// TestDocuments runs every example of the documents, by the tool that the document is about.
func TestDocuments(t *testing.T) {
	s := connect(t, serve(t, oracleOf(t, shop()), nil))
	resources, err := s.ListResources(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, resources.Resources, len(documentNames))
	for _, name := range documentNames {
		body, failed, err := call(t.Context(), s, "docs-traceql", args{"name": name})
		require.NoError(t, err)
		require.False(t, failed)
		res, err := s.ReadResource(t.Context(), readParams(documentURI+name))
		require.NoError(t, err)
		require.Equal(t, body, res.Contents[0].Text)
		examples := example.FindAllStringSubmatch(body, -1)
		require.Greater(t, len(examples), 2, name)
		for _, e := range examples {
			tool := toolSearch
			if e[1] == "traceql metrics" {
				tool = toolInstant
			}
			out, failed, err := call(t.Context(), s, tool, args{"query": strings.TrimSpace(e[2])})
			require.NoError(t, err)
			require.False(t, failed, "%s: %s: %s", name, e[2], out)
		}
	}
	basic, _, err := call(t.Context(), s, "docs-traceql", nil)
	require.NoError(t, err)
	require.Contains(t, basic, "# TraceQL: filters")
	_, err = s.ReadResource(t.Context(), readParams(documentURI+"nothing"))
	require.Error(t, err)
}
