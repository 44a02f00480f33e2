package piiprocessor

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/redactionprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadata"
)

// contender is a processor under the same load.
type contender struct {
	name string
	make func(tb testing.TB) consumer.Traces
}

// contenders are pii with its defaults, and contrib's redaction processor with patterns for six of the things that the
// defaults look for.
var contenders = []contender{
	{"pii", func(tb testing.TB) consumer.Traces { return started(tb, NewFactory(), createDefaultConfig()) }},
	{"contrib", func(tb testing.TB) consumer.Traces {
		f := redactionprocessor.NewFactory()
		cfg := f.CreateDefaultConfig().(*redactionprocessor.Config)
		cfg.AllowAllKeys = true
		cfg.BlockedValues = []string{
			`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`,
			`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`,
			`\bAKIA[A-Z0-9]{16}\b`,
			`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`,
			`\b(?:\d[ -]?){13,19}\b`,
			`-----BEGIN [A-Z ]*PRIVATE KEY-----`,
		}
		return started(tb, f, cfg)
	}},
}

func started(tb testing.TB, f processor.Factory, cfg component.Config) consumer.Traces {
	tb.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	set.ID = component.NewIDWithName(f.Type(), "bench")
	p, err := f.CreateTraces(context.Background(), set, cfg, consumertest.NewNop())
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, p.Shutdown(context.Background())) })
	return p
}

// twelve returns clean spans with twelve attributes each, the form in which costs were measured before
// (distribution.md).
func twelve(n int) ptrace.Traces {
	td, _, ss, _ := oneSpan()
	ss.Spans().RemoveIf(func(ptrace.Span) bool { return true })
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetName("GET /api/v1/products/{id}")
		a := s.Attributes()
		a.PutStr("http.request.method", "GET")
		a.PutStr("http.route", "/api/v1/products/{id}")
		a.PutStr("url.path", fmt.Sprintf("/api/v1/products/%d", i))
		a.PutStr("url.scheme", "http")
		a.PutStr("user_agent.original", "shop-mobile/5.1 (android)")
		a.PutStr("client.address", fmt.Sprintf("192.0.2.%d", i%255))
		a.PutInt("http.response.status_code", 200)
		a.PutInt("server.port", 8080)
		a.PutStr("network.protocol.version", "1.1")
		a.PutStr("shop.user.id", fmt.Sprintf("u-%08x", i*7919))
		a.PutStr("thread.name", fmt.Sprintf("http-nio-8080-exec-%d", i%16))
		a.PutDouble("cpu.share", 0.25)
	}
	return td
}

// cpuTime is the processor time that the process has used: on a busy machine the time of the clock says little.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perUnit reports clock and processor time for each of n units in an iteration.
func perUnit(b *testing.B, cpuStart time.Duration, n int, unit string) {
	b.Helper()
	units := float64(b.N) * float64(n)
	b.ReportMetric(float64((cpuTime()-cpuStart).Nanoseconds())/units, "cpu-ns/"+unit)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/units, "ns/"+unit)
}

// BenchmarkClean: spans in which nothing is found. ns/span is what counts.
func BenchmarkClean(b *testing.B) {
	for _, load := range []struct {
		name string
		td   ptrace.Traces
	}{{"twelve", twelve(1000)}, {"reference", cleanSpans(testkit.NewGenerator(1).Traces(2000))}} {
		for _, c := range contenders {
			b.Run(load.name+"/"+c.name, func(b *testing.B) {
				p := c.make(b)
				n := load.td.SpanCount()
				b.ReportAllocs()
				cpu := cpuTime()
				for b.Loop() {
					if err := p.ConsumeTraces(context.Background(), load.td); err != nil {
						b.Fatal(err)
					}
				}
				perUnit(b, cpu, n, "span")
			})
		}
	}
}

// BenchmarkDirty: reference spans as they are, about a third of which hold something; and spans of which each holds four
// different secrets. Copies of the batches are made outside of the time.
func BenchmarkDirty(b *testing.B) {
	dirty := testkit.NewGenerator(1).Traces(1000)
	i := 0
	for _, rs := range dirty.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				i++
				s.Attributes().PutStr("user.mail", fmt.Sprintf("user%d@example.com", i))
				s.Attributes().PutStr("http.request.header.authorization", fmt.Sprintf("Bearer %032x", i))
				s.Attributes().PutStr("note", fmt.Sprintf("paid with 4242 4242 4242 4242, order %d", i))
				s.Status().SetMessage("no account for alice@example.com")
			}
		}
	}
	for _, load := range []struct {
		name string
		td   ptrace.Traces
	}{{"reference", testkit.NewGenerator(1).Traces(1000)}, {"four secrets", dirty}} {
		for _, c := range contenders {
			b.Run(strings.ReplaceAll(load.name, " ", "_")+"/"+c.name, func(b *testing.B) {
				p := c.make(b)
				n := load.td.SpanCount()
				b.ReportAllocs()
				var copying time.Duration
				cpu := cpuTime()
				for b.Loop() {
					b.StopTimer()
					before := cpuTime()
					td := ptrace.NewTraces()
					load.td.CopyTo(td)
					copying += cpuTime() - before
					b.StartTimer()
					if err := p.ConsumeTraces(context.Background(), td); err != nil {
						b.Fatal(err)
					}
				}
				perUnit(b, cpu+copying, n, "span")
			})
		}
	}
}

// BenchmarkPrompt: an attribute of 100 kB of prose, as the gateways of language models send.
func BenchmarkPrompt(b *testing.B) {
	prose := "You are a helpful assistant. Summarise the following meeting notes in three sentences, name who does what until when, " +
		"and mark open questions. Q3 revenue rose by 12.5 % to 4,200 units; the API gateway (v2.3.1) was moved on 2024-11-02.\n"
	text := strings.Repeat(prose, 100_000/len(prose)+1)
	td, _, _, s := oneSpan()
	s.Attributes().PutStr("gen_ai.prompt", text)
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			p := c.make(b)
			b.SetBytes(int64(len(text)))
			cpu := cpuTime()
			for b.Loop() {
				if err := p.ConsumeTraces(context.Background(), td); err != nil {
					b.Fatal(err)
				}
			}
			perUnit(b, cpu, len(text), "byte")
		})
	}
}
