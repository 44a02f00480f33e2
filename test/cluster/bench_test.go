package cluster

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/harness"
)

// BenchmarkCluster compares three agents with owners to one agent, over the reference workload: CPU per span of ingest
// and per query, all processes together, and the latency of queries. BRAMBLE_BENCH_SPANS says how many spans;
// BRAMBLE_BENCH_LAYOUT=scattered spreads them at random, without owners. bench/results.md has the
// results.
func BenchmarkCluster(b *testing.B) {
	spans := 200_000
	if n, err := strconv.Atoi(os.Getenv("BRAMBLE_BENCH_SPANS")); err == nil {
		spans = n
	}
	one := harness.Start(b, harness.Config{Files: []string{direct}})
	layout := cmp.Or(os.Getenv("BRAMBLE_BENCH_LAYOUT"), "routed")
	three := harness.StartCluster(b, 3, harness.Config{Files: layouts[layout]})
	ids := ingest(b, spans, "one agent", []*harness.Bramble{one}, one.GRPC())
	var to []string
	for _, a := range three.Agents {
		to = append(to, a.GRPC())
	}
	if layout == "scattered" {
		addr, _ := three.Scatter(b, 3)
		to = []string{addr}
	}
	ingest(b, spans, "three agents", three.Agents, to...)
	for _, q := range []struct{ name, path string }{
		{"trace by id", ""},
		{"service", search(`{ resource.service.name = "checkout" }`)},
		{"needle", search(`{ span.http.response.status_code = 503 && duration > 1s }`)},
		{"structure", search(`{ kind = server } >> { status = error }`)},
		{"count", search(`{ status = error } | count() > 2`)},
		{"rate", metrics(`{} | rate() by (resource.service.name)`)},
		{"quantiles", metrics(`{} | quantile_over_time(duration, .5, .99) by (name)`)},
		{"values", "/api/v2/search/tag/resource.service.name/values"},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took [2][]time.Duration
			sides := [2][]*harness.Bramble{{one}, three.Agents}
			var before [2]time.Duration
			for k := range sides {
				before[k] = cpu(b, sides[k])
			}
			for i := 0; b.Loop(); i++ {
				path := q.path
				if path == "" {
					path = "/api/v2/traces/" + ids[i*7919%len(ids)]
				}
				for k, a := range []*harness.Bramble{one, three.Agents[i%3]} { // In turn, so that both see the same machine.
					start := time.Now()
					r := a.Get(path)
					took[k] = append(took[k], time.Since(start))
					require.Equal(b, 200, r.Status, "%s", r.Body)
					require.NotContains(b, string(r.Body), `:[]`, "an answer without anything")
				}
			}
			for k, unit := range []string{"one", "three"} {
				used := cpu(b, sides[k]) - before[k]
				b.ReportMetric(ms(used)/float64(len(took[k])), unit+"-cpu-ms")
				slices.Sort(took[k])
				b.ReportMetric(ms(took[k][len(took[k])/2]), unit+"-p50-ms")
				b.ReportMetric(ms(took[k][len(took[k])*99/100]), unit+"-p99-ms")
			}
		})
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func search(q string) string { return "/api/search?limit=20&q=" + url.QueryEscape(q) }

func metrics(q string) string {
	return "/api/metrics/query_range?since=1h&step=60s&q=" + url.QueryEscape(q)
}

// ingest sends the reference workload to addresses in turn and logs what a span costs all of them together.
func ingest(b *testing.B, spans int, name string, agents []*harness.Bramble, addrs ...string) (ids []string) {
	b.Helper()
	gen := testkit.NewGenerator(1)
	const perSecond = 1250 // Spans of the generator.
	gen.SetTime(time.Now().Add(-time.Minute - time.Duration(spans/perSecond)*time.Second))
	var clients []coltracepb.TraceServiceClient
	for _, a := range addrs {
		clients = append(clients, coltracepb.NewTraceServiceClient(harness.Dial(b, a)))
	}
	before := cpu(b, agents)
	for sent := 0; sent < spans; sent += 1000 {
		batch := gen.Batch(1000)
		body, err := otlpspan.AppendProto(nil, batch)
		require.NoError(b, err)
		m := &coltracepb.ExportTraceServiceRequest{}
		require.NoError(b, proto.Unmarshal(body, m))
		_, err = clients[sent/1000%len(clients)].Export(b.Context(), m)
		require.NoError(b, err)
		ids = append(ids, batch.Spans[0].TraceID.String())
	}
	used := cpu(b, agents) - before
	b.Logf("%s: %.2f µs of CPU per span", name, float64(used.Microseconds())/float64(spans))
	return ids
}

// cpu is the user and system time of processes so far.
func cpu(b *testing.B, agents []*harness.Bramble) time.Duration {
	b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on.
	var sum time.Duration
	for _, a := range agents {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.PID()))
		require.NoError(b, err)
		_, rest, ok := strings.Cut(string(stat), ") ")
		require.True(b, ok)
		fields := strings.Fields(rest)
		for _, f := range fields[11:13] { // utime and stime, fields 14 and 15 of proc(5).
			n, err := strconv.ParseInt(f, 10, 64)
			require.NoError(b, err)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}
