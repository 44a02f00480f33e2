package sampling_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/sampling"
)

func compile(t testing.TB, document string) *sampling.Policies {
	cfg, err := sampling.Parse([]byte(document))
	require.NoError(t, err)
	p, err := sampling.Compile(cfg)
	require.NoError(t, err)
	return p
}

func TestRefusedPolicies(t *testing.T) {
	for _, tc := range []struct {
		name, document string
		says           []string
		unsupported    bool
	}{
		{"no name", `[{type: always_sample}]`, []string{"policies::0", "name is missing"}, false},
		{"same name", `[{name: a, type: always_sample}, {name: a, type: always_sample}]`, []string{`policies::1 (policy "a")`, "same name"}, false},
		{"no type", `[{name: a}]`, []string{`policy "a"`, "type is missing"}, false},
		{"ottl", `[{name: a, type: ottl_condition, ottl_condition: {span: ["true"]}}]`, []string{`policy "a"`, "ottl_condition", "traceql"}, true},
		{"extension", `[{name: a, type: my_extension}]`, []string{`unknown type "my_extension"`}, true},
		{"unknown field", `[{name: a, type: always_sample, latencies: {}}]`, []string{"unknown fields: latencies"}, false},
		{"status", `[{name: a, type: status_code, status_code: {status_codes: [error]}}]`, []string{`"error" is none of`}, false},
		{"no status", `[{name: a, type: status_code}]`, []string{"at least one"}, false},
		{"numeric", `[{name: a, type: numeric_attribute, numeric_attribute: {key: x}}]`, []string{"min_value or max_value"}, false},
		{"regex", `[{name: a, type: string_attribute, string_attribute: {key: x, enabled_regex_matching: true, values: ["("]}}]`, []string{"values::0", "missing closing"}, false},
		{"percentage", `[{name: a, type: probabilistic, probabilistic: {sampling_percentage: .nan}}]`, []string{"from 0 to 100"}, false},
		{"more than all", `[{name: a, type: probabilistic, probabilistic: {sampling_percentage: 110}}]`, []string{"sampling_percentage: must be from 0 to 100, is 110"}, false},
		{"no query", `[{name: a, type: traceql}]`, []string{"traceql::query is missing"}, false},
		{"bad query", `[{name: a, type: traceql, traceql: {query: "{ status = "}}]`, []string{"traceql::query", "parse error"}, false},
		{"metrics query", `[{name: a, type: traceql, traceql: {query: "{} | rate()"}}]`, []string{"metrics query"}, false},
		{"decision", `[{name: a, type: traceql, traceql: {query: "{ trace:brambleDecision = \"kept\" }"}}]`, []string{"trace:brambleDecision", "decided"}, false},
		{"no quota", `[{name: a, type: min_per_service}]`, []string{"traces must be 1 or more"}, false},
		{"window", `[{name: a, type: min_per_service, min_per_service: {traces: 1, window: 1ms}}]`, []string{"shorter than 1s"}, false},
		{"promise inside", `[{name: a, type: and, and: {and_sub_policy: [{name: b, type: min_per_service, min_per_service: {traces: 1}}]}}]`, []string{"cannot stand inside of and"}, false},
		{"no sub-policy", `[{name: a, type: not}]`, []string{"not_sub_policy is missing"}, false},
		{"drop inside", `[{name: a, type: and, and: {and_sub_policy: [{name: b, type: drop}]}}]`, []string{"and_sub_policy::0", "drop cannot stand inside of and"}, false},
		{"budget in drop", `[{name: a, type: drop, drop: {drop_sub_policy: [{name: b, type: rate_limiting, rate_limiting: {spans_per_second: 5}}]}}]`, []string{"drop_sub_policy::0", "budget inside of not or drop"}, true},
		{"budget in not", `[{name: a, type: not, not: {not_sub_policy: {name: b, type: bytes_limiting}}}]`, []string{"not_sub_policy", "budget"}, true},
		{"share of nobody", `[{name: a, type: composite, composite: {max_total_spans_per_second: 9, rate_allocation: [{policy: x, percent: 5}]}}]`, []string{`no sub-policy "x"`}, false},
		{"negative", `[{name: a, type: rate_limiting, rate_limiting: {spans_per_second: -1}}]`, []string{"must not be negative"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := sampling.Parse([]byte(tc.document))
			require.NoError(t, err)
			_, err = sampling.Compile(cfg)
			for _, s := range tc.says {
				require.ErrorContains(t, err, s)
			}
			if tc.unsupported {
				require.ErrorIs(t, err, sampling.ErrUnsupported)
			}
		})
	}
}

func TestRefusedDocuments(t *testing.T) {
	for document, says := range map[string]string{
		"": "want a map", "5": "want a map", "{}": "no key policies", "policies: [": "read policies",
		"policies: []\nother: 1": "other", "[{name: 5, type: {}}]": "type",
	} {
		_, err := sampling.Parse([]byte(document))
		require.ErrorContains(t, err, says, document)
	}
	_, err := sampling.Parse(make([]byte, 2<<20))
	require.ErrorContains(t, err, "more than")
}

// FuzzParse reads arbitrary documents; what can be read is compiled or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{name: a, type: and, and: {and_sub_policy: [{name: b, type: not, not: {not_sub_policy: {name: c, type: latency}}}]}}]`))
	f.Add([]byte(`{"policies": [{"name": "a", "type": "composite", "composite": {"composite_sub_policy": [{"name": "b", "type": "always_sample"}]}}]}`))
	f.Add([]byte("policies:\n  - {name: a, type: traceql, traceql: {query: '{ status = error }'}}\nsample_on_first_match: true"))
	f.Fuzz(func(_ *testing.T, document []byte) {
		cfg, err := sampling.Parse(document)
		if err == nil {
			_, _ = sampling.Compile(cfg)
		}
	})
}
