package testkit

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

const (
	pods          = 12
	nodes         = 4
	podsPerApp    = 3 // Each service runs in this many of the pods.
	minTrace      = 8
	maxTrace      = 60
	slowTraces    = 0.127
	errorRate     = 0.0118 // Of spans by themselves; callers of a failed span fail in half of the cases.
	tracesPerSec  = 50
	meanTraceTail = 18.5 // Mean of the exponential part of the trace length.
)

// services are called in layers: a service calls only those after it.
var services = [...]string{
	"web-gateway", "frontend", "checkout", "cart", "catalog", "search", "recommendation", "pricing", "inventory",
	"payment", "shipping", "account", "notification", "review", "audit",
}

// Generator makes the reference workload. It is not safe for concurrent use.
type Generator struct {
	rng       *rand.Rand
	next      uint64 // Unix nanoseconds of the next trace's start.
	resources []store.Resource
	scopes    []store.Scope
}

// NewGenerator returns a generator whose traces start at 2026-01-02T03:04:05Z, 50 a second.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{rng: rand.New(rand.NewPCG(seed, 0x5eed))} //nolint:gosec // Not for secrets.
	g.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	for i, name := range services {
		for j := range podsPerApp {
			g.resources = append(g.resources, resource(name, i, (i*5+j*4)%pods))
		}
	}
	g.scopes = []store.Scope{
		{Name: "example.com/instrumentation/http", Version: "0.61.0"},
		{Name: "example.com/instrumentation/sql", Version: "0.12.1"},
		{Name: "shop", Version: "3.2.0"},
	}
	return g
}

// SetTime makes the next trace start at t.
func (g *Generator) SetTime(t time.Time) { g.next = uint64(t.UnixNano()) } //nolint:gosec // After 1970.

func resource(service string, i, pod int) store.Resource {
	node := pod % nodes
	return store.Resource{
		SchemaURL: "https://opentelemetry.io/schemas/1.37.0",
		Attrs: []store.Attr{
			str("service.name", service),
			str("service.namespace", "shop"),
			str("service.version", fmt.Sprintf("1.%d.%d", i, pod%3)),
			str("k8s.namespace.name", "shop"),
			str("k8s.pod.name", fmt.Sprintf("shop-%c-5d9c7b8f64-%05x", 'a'+pod, pod*7919)),
			str("k8s.node.name", fmt.Sprintf("node-%d", node)),
			str("k8s.container.name", service),
			str("host.arch", "amd64"),
			str("telemetry.sdk.name", "opentelemetry"),
			str("telemetry.sdk.language", []string{"go", "java", "nodejs"}[i%3]),
			str("deployment.environment.name", "production"),
		},
	}
}

func str(k, v string) store.Attr         { return store.Attr{Key: k, Value: store.String(v)} }
func num(k string, v int64) store.Attr   { return store.Attr{Key: k, Value: store.Int(v)} }
func dbl(k string, v float64) store.Attr { return store.Attr{Key: k, Value: store.Float(v)} }

// Batch returns whole traces with at least n spans in all.
func (g *Generator) Batch(n int) *store.Batch {
	b := &store.Batch{Resources: append([]store.Resource(nil), g.resources...), Scopes: append([]store.Scope(nil), g.scopes...)}
	for len(b.Spans) < n {
		g.trace(b)
	}
	return b
}

// Traces returns the same as Batch, grouped by resource and scope as OTLP has it.
func (g *Generator) Traces(n int) ptrace.Traces {
	td, err := otlpspan.Build(g.Batch(n))
	if err != nil {
		panic(fmt.Sprintf("the generator made an invalid batch: %v", err)) // A bug here, whatever the test.
	}
	return td
}

// node is a span that may get children.
type node struct {
	span    int // Index in the batch.
	service int
}

// trace appends one trace to b, whose resources and scopes are the generator's.
func (g *Generator) trace(b *store.Batch) {
	size := min(maxTrace, minTrace+int(g.rng.ExpFloat64()*meanTraceTail))
	t := &tracer{Generator: g, b: b, first: len(b.Spans)}
	binary.BigEndian.PutUint64(t.id[:8], g.rng.Uint64())
	binary.BigEndian.PutUint64(t.id[8:], g.rng.Uint64()|1)
	t.order = fmt.Sprintf("ord-%d", 10_000_000+g.rng.IntN(90_000_000))
	t.user = fmt.Sprintf("u-%08x", g.rng.Uint32())

	duration := math.Exp(g.rng.NormFloat64()*0.8) * 120e6
	if g.rng.Float64() < slowTraces {
		duration = 1.2e9 + g.rng.ExpFloat64()*2.5e9
	} else {
		duration = min(duration, 990e6)
	}
	t.root(duration)
	for len(b.Spans)-t.first < size {
		t.child(size - (len(b.Spans) - t.first))
	}
	t.fail()
	g.next += uint64(g.rng.ExpFloat64() * float64(time.Second) / tracesPerSec)
}

func (g *Generator) spanID() (id spanid.SpanID) {
	binary.BigEndian.PutUint64(id[:], g.rng.Uint64()|1)
	return id
}

// pick returns one of the words.
func (g *Generator) pick(words ...string) string { return words[g.rng.IntN(len(words))] }
