package sampling_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// BenchmarkDecide decides about a block of the reference workload. The target is 500 ns/span.
func BenchmarkDecide(b *testing.B) {
	const spans = 200_000
	db, err := tracedb.Open(b.Context(), tracedb.Options{Dir: "data", FS: fsx.NewMem(), Cut: tracedb.CutOptions{Spans: spans}})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close(context.Background())) })
	g := testkit.NewGenerator(1)
	for n := 0; n < spans; {
		batch := g.Batch(1000)
		n += len(batch.Spans)
		require.NoError(b, db.Append(b.Context(), batch))
	}
	for db.Stats().Blocks == 0 {
		require.NoError(b, db.Cut())
	}
	v, err := db.View()
	require.NoError(b, err)
	b.Cleanup(v.Release)
	u := undecided(b, v, v.Parts()[len(v.Parts())-1:])
	rows := u.Parts[0].Info().Rows
	for name, document := range map[string]string{
		"production": `
- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
- {name: slow, type: latency, latency: {threshold_ms: 999}}
- {name: share, type: probabilistic, probabilistic: {sampling_percentage: 10}}`,
		"attributes": `
- {name: a, type: string_attribute, string_attribute: {key: http.route, values: [/api/v1/orders]}}
- {name: b, type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500}}
- {name: c, type: string_attribute, string_attribute: {key: db.query.text, enabled_regex_matching: true, values: ["(?i)delete"]}}`,
		"traceql": `
- {name: a, type: traceql, traceql: {query: '{ span.http.route = "/api/v1/orders" && duration > 100ms }'}}`,
		"structure": `
- {name: a, type: traceql, traceql: {query: '{ kind = server } >> { span.db.system.name = "redis" }'}}`,
		"quiet": `
- {name: a, type: min_per_service, min_per_service: {traces: 10}}`,
		"rate": `
- {name: a, type: rate_limiting, rate_limiting: {spans_per_second: 100}}`,
		"bytes": `
- {name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 10000}}`,
	} {
		b.Run(name, func(b *testing.B) {
			before := cpuTime()
			for b.Loop() {
				p := compile(b, document)
				_, err := p.Decide(b.Context(), u)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/span")
			// Of all processors, which the machine's other work does not slow down.
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N)/float64(rows), "cpu-ns/span")
		})
	}
}
