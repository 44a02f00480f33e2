package cluster

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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
// BRAMBLE_BENCH_LAYOUT=scattered spreads them at random, without owners; BRAMBLE_BENCH_CORES=own gives the agent that is
// asked a core that it shares with no other agent, see coresFromEnv. BRAMBLE_BENCH_AGENTS is how many agents there are
// instead of three. BRAMBLE_BENCH_PROFILES is a directory for CPU profiles.
// bench/results.md has the results.
func BenchmarkCluster(b *testing.B) {
	spans := 200_000
	if n, err := strconv.Atoi(os.Getenv("BRAMBLE_BENCH_SPANS")); err == nil {
		spans = n
	}
	agents := 3
	if n, err := strconv.Atoi(os.Getenv("BRAMBLE_BENCH_AGENTS")); err == nil {
		agents = n
	}
	place := coresFromEnv(b)
	one := harness.Start(b, harness.Config{Files: []string{direct}, Overlay: profiled, Wrap: place.first})
	layout := cmp.Or(os.Getenv("BRAMBLE_BENCH_LAYOUT"), "routed")
	three := harness.StartClusterAt(b, place.of(agents), harness.Config{Files: layouts[layout], Overlay: profiled})
	load := ingest(b, spans, "one agent", []*harness.Bramble{one}, one.GRPC())
	var to []string
	for _, a := range three.Agents {
		to = append(to, a.GRPC())
	}
	if layout == "scattered" {
		addr, _ := three.Scatter(b, 3)
		to = []string{addr}
	}
	ingest(b, spans, "three agents", three.Agents, to...)
	for _, q := range benchQueries(load) {
		b.Run(q.name, func(b *testing.B) {
			profile(b, q.name, map[string]*harness.Bramble{"one": one, "asked": three.Agents[0], "peer": three.Agents[1]})
			var took [2][]time.Duration
			sides := [2][]*harness.Bramble{{one}, three.Agents}
			var before [2]time.Duration
			for k := range sides {
				before[k] = cpu(b, sides[k])
			}
			for i := 0; b.Loop(); i++ {
				path := q.path
				if path == "" {
					path = "/api/v2/traces/" + load.ids[i*7919%len(load.ids)]
				}
				asked := three.Agents[0]
				if !place.own {
					asked = three.Agents[i%agents]
				}
				for k, a := range []*harness.Bramble{one, asked} { // In turn, so that both see the same machine.
					start := time.Now()
					r := a.Get(path)
					took[k] = append(took[k], time.Since(start))
					require.Equal(b, 200, r.Status, "%s", r.Body)
					require.Equal(b, q.nothing, strings.Contains(string(r.Body), `:[]`), "whether the answer is without anything: %s", r.Body)
				}
			}
			var p50 [2]float64
			for k, unit := range []string{"one", "three"} {
				used := cpu(b, sides[k]) - before[k]
				b.ReportMetric(ms(used)/float64(len(took[k])), unit+"-cpu-ms")
				slices.Sort(took[k])
				p50[k] = ms(took[k][len(took[k])/2])
				b.ReportMetric(p50[k], unit+"-p50-ms")
				b.ReportMetric(ms(took[k][len(took[k])*99/100]), unit+"-p99-ms")
			}
			b.ReportMetric(p50[1]/p50[0], "p50-ratio")
		})
	}
}

// profiled lets Go profiles be taken.
var profiled = harness.Set("extensions::trace_query::pprof_enabled", true)

// profile keeps CPU profiles of agents while a benchmark runs, if they are asked for: NAME-AGENT.pprof.
func profile(b *testing.B, name string, agents map[string]*harness.Bramble) {
	b.Helper()
	dir := os.Getenv("BRAMBLE_BENCH_PROFILES")
	if dir == "" {
		return
	}
	var wg sync.WaitGroup
	b.Cleanup(wg.Wait)
	for who, a := range agents {
		wg.Go(func() {
			r := a.Get("/debug/pprof/profile?seconds=20")
			if r.Status == 200 {
				_ = os.WriteFile(filepath.Join(dir, name+"-"+who+".pprof"), r.Body, 0o600) // Seen when it is missing.
			}
		})
	}
}

// cores says which processors agents get.
type cores struct {
	own           bool
	first, others []string // What a command line begins with.
}

// coresFromEnv lets all agents use all processors, or gives the agent that is asked one that no other agent uses, as
// nodes of a cluster have it, and all others together another one. So with two processors latency is that of two nodes, and
// that of three but for peers that take turns, which those of a cluster do not: an upper bound, the network apart. A control
// group of their own lets agents and this process go before others, whose load would be measured otherwise.
func coresFromEnv(b *testing.B) cores {
	b.Helper()
	if os.Getenv("BRAMBLE_BENCH_CORES") != "own" {
		return cores{}
	}
	const root = "/sys/fs/cgroup/cpu"
	dir := filepath.Join(root, fmt.Sprintf("bramble-bench-%d", os.Getpid()))
	require.NoError(b, os.Mkdir(dir, 0o700), "a control group of version 1, as root")
	join := func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	b.Cleanup(func() {
		require.NoError(b, join(root))
		require.NoError(b, os.Remove(dir))
	})
	require.NoError(b, os.WriteFile(filepath.Join(dir, "cpu.shares"), []byte("200000"), 0o600))
	require.NoError(b, join(dir)) // And what it starts.
	on := func(cpu string) []string { return []string{"taskset", "-c", cpu} }
	return cores{own: true, first: on("0"), others: on("1")}
}

// of are the places of n agents.
func (c cores) of(n int) []harness.Place {
	out := make([]harness.Place, n)
	for i := range out {
		out[i].Host = fmt.Sprintf("127.0.0.%d", i+1)
		switch {
		case c.own && i == 0:
			out[i].Wrap = c.first
		case c.own:
			out[i].Wrap = c.others
		}
	}
	return out
}

// benchQuery is a line of the table. The path is empty for a trace by id, another each time; nothing is found if so it says.
type benchQuery struct {
	name, path string
	nothing    bool
}

// benchQueries are those of bench/query's table that need no knowledge of single spans.
func benchQueries(l workload) []benchQuery {
	window := fmt.Sprintf("&start=%d&end=%d", l.begin.Add(-time.Minute).Unix(), l.end.Add(time.Minute).Unix())
	search := func(name, q string) benchQuery {
		return benchQuery{name: name, path: "/api/search?limit=20&q=" + url.QueryEscape(q) + window}
	}
	metrics := func(name, q string) benchQuery {
		return benchQuery{name: name, path: "/api/metrics/query_range?step=60s&q=" + url.QueryEscape(q) + window}
	}
	absent := search("absent", `{ span.shop.order.id = "ord-absent" }`)
	absent.nothing = true
	return []benchQuery{
		{name: "trace by id"},
		search("service", `{ resource.service.name = "payment" }`),
		search("service and error", `{ resource.service.name = "payment" && status = error }`),
		search("needle", `{ span.http.response.status_code = 503 && duration > 1s }`),
		absent,
		search("slow", `{ duration > 1s }`),
		search("structure", `{ resource.service.name = "checkout" } >> { resource.service.name = "audit" }`),
		search("structure of errors", `{ kind = server } >> { status = error }`),
		search("count", `{ status = error } | count() > 2`),
		search("count of all", `{} | count() > 40`),
		search("regex", "{ span.url.full =~ `.*/internal/00.*order=ord-1.*` }"),
		metrics("count over time", `{ span.http.response.status_code >= 500 } | count_over_time()`),
		metrics("rate", `{} | rate() by (resource.service.name)`),
		metrics("quantiles", `{} | quantile_over_time(duration, .5, .95, .99) by (span.http.route)`),
		metrics("quantiles by name", `{} | quantile_over_time(duration, .5, .99) by (name)`),
		metrics("histogram", `{} | histogram_over_time(duration)`),
		metrics("compare", `{} | compare({ status = error })`),
		{name: "tag names", path: "/api/v2/search/tags?scope=span" + window},
		{name: "values", path: "/api/v2/search/tag/resource.service.name/values?" + window[1:]},
		{name: "values of names", path: "/api/v2/search/tag/name/values?" + window[1:]},
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// workload is what was sent: some of the traces, and when it was.
type workload struct {
	ids        []string
	begin, end time.Time
}

// ingest sends the reference workload to addresses in turn and logs what a span costs all of them together.
func ingest(b *testing.B, spans int, name string, agents []*harness.Bramble, addrs ...string) workload {
	b.Helper()
	gen := testkit.NewGenerator(1)
	const perSecond = 1250 // Spans of the generator.
	out := workload{end: time.Now()}
	out.begin = out.end.Add(-time.Minute - time.Duration(spans/perSecond)*time.Second)
	gen.SetTime(out.begin)
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
		out.ids = append(out.ids, batch.Spans[0].TraceID.String())
	}
	used := cpu(b, agents) - before
	b.Logf("%s: %.2f µs of CPU per span", name, float64(used.Microseconds())/float64(spans))
	return out
}

// cpu is the user and system time of processes so far.
func cpu(b *testing.B, agents []*harness.Bramble) (sum time.Duration) {
	b.Helper()
	for _, a := range agents {
		sum += cpuOf(b, a.PID())
	}
	return sum
}

// cpuOf is that of one process.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	_, rest, ok := strings.Cut(string(stat), ") ")
	require.True(b, ok)
	var sum time.Duration
	fields := strings.Fields(rest)
	for _, f := range fields[11:13] { // utime and stime, fields 14 and 15 of proc(5).
		n, err := strconv.ParseInt(f, 10, 64)
		require.NoError(b, err)
		sum += time.Duration(n) * tick
	}
	return sum
}
