package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql/traceqltest"
	"github.com/bramble-tracing/bramble/test/harness"
)

// apart is the time between the spans of two scripts: more than searches look beyond their window.
const apart = 6 * time.Hour

// shifted moves the spans of the n-th script to a time and to trace ids of their own.
func shifted(b *store.Batch, n int, by int64) *store.Batch {
	out := &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: slices.Clone(b.Spans)}
	for i := range out.Spans {
		s := &out.Spans[i]
		binary.BigEndian.PutUint32(s.TraceID[:4], uint32(n+1))
		s.StartNano, s.EndNano = moved(s.StartNano, by), moved(s.EndNano, by)
		s.Events = slices.Clone(s.Events)
		for k := range s.Events {
			s.Events[k].TimeNano = moved(s.Events[k].TimeNano, by)
		}
	}
	return out
}

func moved(t uint64, by int64) uint64 { return uint64(int64(t) + by) }

// TestCorpus asks three agents everything that the corpus of TraceQL asks, over HTTP, and one agent with all spans.
func TestCorpus(t *testing.T) {
	scripts, err := traceqltest.Scripts()
	require.NoError(t, err)
	base := time.Now().Add(-time.Duration(len(scripts)+1) * apart).Truncate(time.Hour).UnixNano()
	for name, files := range layouts {
		t.Run(name, func(t *testing.T) {
			one := harness.Start(t, harness.Config{Files: []string{direct}})
			c := harness.StartCluster(t, 3, harness.Config{Files: files})
			scattered, _ := c.Scatter(t, 7)
			asked := 0
			for n, s := range scripts {
				by := base + int64(n)*int64(apart) - traceqltest.Epoch
				b := shifted(s.Batch, n, by)
				slices.SortStableFunc(b.Spans, func(x, y store.Span) int { return int(int64(x.StartNano) - int64(y.StartNano)) }) // Siblings are numbered in the order of rows.
				send(t, one.GRPC(), b)
				for i := range b.Spans { // One by one, so that an owner gets them in this order.
					send(t, scattered, &store.Batch{Resources: b.Resources, Scopes: b.Scopes, Spans: b.Spans[i : i+1]})
				}
				asked += compareScript(t, s, by, one, c)
				compareTraces(t, b, one, c)
			}
			t.Logf("%d requests to each of three agents had the answers of one agent", asked)
			require.Greater(t, asked, 500)
		})
	}
}

// compareScript asks what a script asks and returns how much that was. The three agents take turns.
func compareScript(t *testing.T, s *traceqltest.Script, by int64, one *harness.Bramble, c *harness.Cluster) int {
	t.Helper()
	asked := 0
	for i := range s.Cases {
		k := &s.Cases[i]
		path, params := request(t, k, by)
		want := get(t, one, path, params)
		for n := range c.Agents {
			if !full() && n != i%3 {
				continue
			}
			got := get(t, c.Agents[n], path, params)
			require.Equal(t, want, got, "%s:%d, node-%d: %s %s", s.Name, k.Line, n+1, k.Verb, k.Query)
		}
		asked++
	}
	return asked
}

// request makes a case of a script an HTTP request.
func request(t *testing.T, c *traceqltest.Case, by int64) (path string, p url.Values) {
	t.Helper()
	p = url.Values{}
	seconds := func(nano int64) string { return strconv.FormatInt(nano/1e9, 10) }
	start, end := traceqltest.Epoch+by, traceqltest.Epoch+by+int64(2*time.Hour)
	times := func() (out []time.Duration) {
		for _, a := range c.Args {
			d, err := time.ParseDuration(a)
			require.NoError(t, err)
			out = append(out, d)
		}
		return out
	}
	p.Set("q", c.Query)
	switch c.Verb {
	case "search", "show":
		p.Set("limit", "1000")
		p.Set("spss", "100")
		path = "/api/search"
	case "range", "instant":
		d := times()
		start, end = traceqltest.Epoch+by+int64(d[0]), traceqltest.Epoch+by+int64(math.Ceil(d[1].Seconds()))*1e9
		path = "/api/metrics/query"
		if c.Verb == "range" {
			p.Set("step", d[2].String())
			path = "/api/metrics/query_range"
		}
	case "names":
		if c.Args[0] != "" {
			p.Set("scope", c.Args[0])
		}
		path = "/api/v2/search/tags"
	case "values":
		path = "/api/v2/search/tag/" + url.PathEscape(c.Args[0]) + "/values"
	default:
		t.Fatalf("unknown verb %s", c.Verb)
	}
	if c.Verb != "names" && c.Verb != "values" { // Catalogues are those of whole parts of a store, whatever the window is.
		p.Set("start", seconds(start))
		p.Set("end", seconds(end))
	}
	return path, p
}

// compareTraces asks for every trace of a batch by its id.
func compareTraces(t *testing.T, b *store.Batch, one *harness.Bramble, c *harness.Cluster) {
	t.Helper()
	seen := map[spanid.TraceID]bool{}
	for i := range b.Spans {
		id := b.Spans[i].TraceID
		if seen[id] {
			continue
		}
		seen[id] = true
		want := canonical(t, one.Trace(id[:]))
		for n, a := range c.Agents {
			require.Equal(t, want, canonical(t, a.Trace(id[:])), "trace %s of node-%d", hexID(id[:]), n+1)
		}
	}
}

// canonical prints every span with its resource and scope, in an order that does not depend on how they are grouped.
func canonical(t *testing.T, td *tracepb.TracesData) []string {
	t.Helper()
	var out []string
	for _, rs := range td.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				one := &tracepb.ResourceSpans{Resource: rs.GetResource(), SchemaUrl: rs.GetSchemaUrl(), ScopeSpans: []*tracepb.ScopeSpans{
					{Scope: ss.GetScope(), SchemaUrl: ss.GetSchemaUrl(), Spans: []*tracepb.Span{s}},
				}}
				raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(one)
				require.NoError(t, err)
				out = append(out, hex.EncodeToString(raw))
			}
		}
	}
	slices.Sort(out)
	return out
}
