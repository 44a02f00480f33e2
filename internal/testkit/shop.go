package testkit

import (
	"fmt"
	"strconv"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// Indexes into Generator.scopes.
const (
	scopeHTTP = iota
	scopeSQL
	scopeShop
)

// tracer makes the spans of one trace.
type tracer struct {
	*Generator
	b           *store.Batch
	first       int // Index of the root.
	id          spanid.TraceID
	order, user string
	open        []node
}

type operation struct {
	method, route string
	path          func(t *tracer) string
}

var operations = [...]operation{
	{"GET", "/api/v1/orders/{order}", func(t *tracer) string { return "/api/v1/orders/" + t.order }},
	{"POST", "/api/v1/orders", func(*tracer) string { return "/api/v1/orders" }},
	{"GET", "/api/v1/products/{id}", func(t *tracer) string { return fmt.Sprintf("/api/v1/products/%d", t.rng.IntN(50_000)) }},
	{"GET", "/api/v1/search", func(t *tracer) string {
		return fmt.Sprintf("/api/v1/search?q=item+%d&page=%d", t.rng.IntN(3_000), t.rng.IntN(9))
	}},
	{"PUT", "/api/v1/users/{user}/cart", func(t *tracer) string { return "/api/v1/users/" + t.user + "/cart" }},
	{"DELETE", "/api/v1/users/{user}/cart/{line}", func(t *tracer) string { return fmt.Sprintf("/api/v1/users/%s/cart/%d", t.user, t.rng.IntN(20)) }},
	{"GET", "/healthz", func(*tracer) string { return "/healthz" }},
}

var statements = [...]struct{ verb, table, text string }{
	{"SELECT", "orders", "SELECT id, status, total FROM orders WHERE id = $1"},
	{"SELECT", "products", "SELECT id, name, price FROM products WHERE category = $1 ORDER BY rank LIMIT 50"},
	{"INSERT", "order_lines", "INSERT INTO order_lines (order_id, sku, quantity) VALUES ($1, $2, $3)"},
	{"UPDATE", "stock", "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2"},
	{"SELECT", "users", "SELECT id, locale FROM users WHERE id = $1"},
	{"DELETE", "carts", "DELETE FROM carts WHERE user_id = $1"},
}

// add appends a span and returns its index in the batch.
func (t *tracer) add(parent, service int, kind int32, scope int32, name string, start, duration uint64, attrs ...store.Attr) int {
	s := store.Span{
		TraceID: t.id, SpanID: t.spanID(), Kind: kind, Scope: scope, Name: name, Attrs: attrs,
		Resource:  int32(service*podsPerApp + t.rng.IntN(podsPerApp)), //nolint:gosec // Small.
		StartNano: start, EndNano: start + duration, Flags: 0x101,
	}
	if parent >= 0 {
		p := &t.b.Spans[parent]
		s.ParentID, s.Flags = p.SpanID, 0x101
		if p.Kind == store.KindClient || p.Kind == store.KindProducer {
			s.Flags = 0x301 // OTLP: has_is_remote and is_remote.
		} else {
			s.Resource = p.Resource // Same process.
		}
	}
	t.b.Spans = append(t.b.Spans, s)
	return len(t.b.Spans) - 1
}

func (t *tracer) root(duration float64) {
	i := t.server(-1, 0, t.next, uint64(duration))
	t.b.Spans[i].Flags = 0x101
}

func (t *tracer) server(parent, service int, start, duration uint64) int {
	op := operations[t.rng.IntN(len(operations))]
	i := t.add(parent, service, store.KindServer, scopeHTTP, op.method+" "+op.route, start, duration,
		str("http.request.method", op.method),
		str("http.route", op.route),
		str("url.path", op.path(t)),
		str("url.scheme", "http"),
		num("server.port", 8080),
		num("http.response.status_code", 200),
		str("client.address", fmt.Sprintf("192.0.2.%d", t.rng.IntN(255))),
		str("user_agent.original", t.pick("shop-mobile/5.1 (android)", "shop-mobile/5.1 (ios)", "shop-web/2026.1")),
		str("network.protocol.version", t.pick("1.1", "2")),
		str("shop.user.id", t.user),
	)
	t.open = append(t.open, node{i, service})
	return i
}

// within returns a start and a duration inside those of the parent.
func (t *tracer) within(parent int, share float64) (start, duration uint64) {
	p := &t.b.Spans[parent]
	total := float64(p.EndNano - p.StartNano)
	d := total * share * (0.3 + 0.7*t.rng.Float64())
	return p.StartNano + uint64((total-d)*t.rng.Float64()), uint64(d)
}

// child adds one or two spans, at most room, below a random open span.
func (t *tracer) child(room int) {
	p := t.open[t.rng.IntN(len(t.open))]
	last := p.service == len(services)-1
	switch dice := t.rng.IntN(100); {
	case dice < 36 && room >= 2 && !last:
		t.call(p)
	case dice < 62:
		t.query(p)
	case dice < 76:
		t.cache(p)
	case dice < 84 && room >= 2 && !last:
		t.message(p)
	default:
		t.work(p)
	}
}

func (t *tracer) call(p node) {
	callee := p.service + 1 + t.rng.IntN(len(services)-1-p.service)
	start, duration := t.within(p.span, 0.95)
	client := t.add(p.span, p.service, store.KindClient, scopeHTTP, t.pick("GET", "POST", "PUT"), start, duration,
		str("http.request.method", t.pick("GET", "POST", "PUT")),
		str("url.full", fmt.Sprintf("http://%s:8080/internal/%08x?order=%s", services[callee], t.rng.Uint32(), t.order)),
		str("server.address", services[callee]),
		num("server.port", 8080),
		num("http.response.status_code", 200),
		str("network.peer.address", fmt.Sprintf("198.51.100.%d", t.rng.IntN(255))),
		num("network.peer.port", 8080),
		num("http.response.body.size", int64(t.rng.IntN(1<<14))),
	)
	start, duration = t.within(client, 1)
	t.server(client, callee, start, duration)
}

func (t *tracer) query(p node) {
	q := statements[t.rng.IntN(len(statements))]
	start, duration := t.within(p.span, 0.5)
	t.add(p.span, p.service, store.KindClient, scopeSQL, q.verb+" "+q.table, start, duration,
		str("db.system.name", "postgresql"),
		str("db.namespace", "shop"),
		str("db.collection.name", q.table),
		str("db.operation.name", q.verb),
		str("db.query.text", q.text),
		str("server.address", fmt.Sprintf("pg-%d.db.example", p.service%3)),
		num("server.port", 5432),
		num("db.response.returned_rows", int64(t.rng.ExpFloat64()*12)),
		str("shop.order.id", t.order),
	)
}

func (t *tracer) cache(p node) {
	start, duration := t.within(p.span, 0.08)
	verb := t.pick("GET", "SET", "MGET")
	t.add(p.span, p.service, store.KindClient, scopeSQL, verb, start, duration,
		str("db.system.name", "redis"),
		str("db.operation.name", verb),
		str("db.query.text", fmt.Sprintf("%s session:%s:%06x", verb, t.user, t.rng.IntN(1<<24))),
		str("server.address", "redis.cache.example"),
		num("server.port", 6379),
		store.Attr{Key: "cache.hit", Value: store.Bool(t.rng.IntN(10) > 2)},
		str("network.peer.address", "203.0.113.17"),
		num("db.response.returned_rows", int64(t.rng.IntN(2))),
	)
}

func (t *tracer) message(p node) {
	callee := p.service + 1 + t.rng.IntN(len(services)-1-p.service)
	topic := t.pick("orders", "stock", "mail", "audit")
	start, duration := t.within(p.span, 0.1)
	send := t.add(p.span, p.service, store.KindProducer, scopeShop, "send "+topic, start, duration,
		str("messaging.system", "kafka"),
		str("messaging.operation.type", "send"),
		str("messaging.destination.name", topic),
		str("messaging.message.id", fmt.Sprintf("%016x", t.rng.Uint64())),
		str("messaging.destination.partition.id", strconv.Itoa(t.rng.IntN(12))),
		num("messaging.message.body.size", int64(200+t.rng.IntN(4000))),
		str("shop.order.id", t.order),
		str("messaging.client.id", fmt.Sprintf("shop-producer-%d", t.rng.IntN(24))),
	)
	start, duration = t.within(send, 1)
	i := t.add(send, callee, store.KindConsumer, scopeShop, "process "+topic, start, duration,
		str("messaging.system", "kafka"),
		str("messaging.operation.type", "process"),
		str("messaging.destination.name", topic),
		str("messaging.consumer.group.name", services[callee]),
		num("messaging.kafka.offset", int64(t.rng.IntN(1<<30))),
		str("messaging.destination.partition.id", strconv.Itoa(t.rng.IntN(12))),
		str("shop.order.id", t.order),
		str("shop.user.id", t.user),
	)
	t.b.Spans[i].Links = []store.Link{{TraceID: t.id, SpanID: t.b.Spans[send].SpanID}}
	t.open = append(t.open, node{i, callee})
}

func (t *tracer) work(p node) {
	start, duration := t.within(p.span, 0.6)
	fn := t.pick("price.Compute", "stock.Reserve", "order.Validate", "mail.Render", "rank.Score")
	i := t.add(p.span, p.service, store.KindInternal, scopeShop, fn, start, duration,
		str("code.function.name", "com.example.shop."+fn),
		num("code.line.number", int64(t.rng.IntN(900))),
		str("thread.name", fmt.Sprintf("worker-%d", t.rng.IntN(32))),
		num("thread.id", int64(t.rng.IntN(64))),
		num("shop.items", int64(1+t.rng.IntN(12))),
		dbl("shop.total", float64(t.rng.IntN(50_000))/100),
		str("shop.order.id", t.order),
		str("shop.user.id", t.user),
		str("shop.tenant", fmt.Sprintf("tenant-%02d", t.rng.IntN(40))),
		str("feature_flag.key", t.pick("new-ranking", "fast-checkout", "none")),
	)
	t.open = append(t.open, node{i, p.service})
}

// fail makes some spans errors. A failed span's callers fail in half of the cases, up to the root.
func (t *tracer) fail() {
	spans := t.b.Spans[t.first:]
	byID := make(map[spanid.SpanID]int, len(spans))
	for i := range spans {
		byID[spans[i].SpanID] = i
	}
	for i := range spans {
		if t.rng.Float64() >= errorRate {
			continue
		}
		s := &spans[i]
		s.Events = append(s.Events, store.Event{TimeNano: s.EndNano, Name: "exception", Attrs: []store.Attr{
			str("exception.type", t.pick("java.util.concurrent.TimeoutException", "ConnectionError", "ValidationError")),
			str("exception.message", fmt.Sprintf("operation on %s failed after %d attempts", t.order, 1+t.rng.IntN(4))),
			str("exception.stacktrace", "at shop.Client.call(Client:88)\nat shop.Handler.serve(Handler:31)\nat shop.Main.run(Main:12)"),
		}})
		for up, ok := i, true; ok; up, ok = byID[spans[up].ParentID] {
			t.markFailed(&spans[up])
			if t.rng.IntN(2) == 0 {
				break
			}
		}
	}
}

func (t *tracer) markFailed(s *store.Span) {
	s.StatusCode = store.StatusError
	s.StatusMessage = "operation failed"
	for i := range s.Attrs {
		if s.Attrs[i].Key == "http.response.status_code" {
			s.Attrs[i].Value = store.Int([]int64{500, 503, 504, 429}[t.rng.IntN(4)])
		}
	}
}
