package piiprocessor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/entity"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/bramble-tracing/bramble/internal/pii"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadatatest"
)

const testKey = "0123456789abcdef0123456789abcdef"

// harness is a started processor with its sink and telemetry.
type harness struct {
	processor.Traces
	id   string
	sink *consumertest.TracesSink
	tel  *componenttest.Telemetry
}

func start(tb testing.TB, change func(*Config)) *harness {
	tb.Helper()
	cfg := createDefaultConfig().(*Config)
	if change != nil {
		change(cfg)
	}
	h := &harness{sink: new(consumertest.TracesSink), tel: componenttest.NewTelemetry()}
	set := metadatatest.NewSettings(h.tel)
	h.id = set.ID.String()
	p, err := NewFactory().CreateTraces(context.Background(), set, cfg, h.sink)
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), componenttest.NewNopHost()))
	h.Traces = p
	tb.Cleanup(func() {
		require.NoError(tb, p.Shutdown(context.Background()))
		require.NoError(tb, h.tel.Shutdown(context.Background()))
	})
	return h
}

// run sends a batch and returns what comes out, or nothing.
func (h *harness) run(tb testing.TB, td ptrace.Traces) ptrace.Traces {
	tb.Helper()
	h.sink.Reset()
	require.NoError(tb, h.ConsumeTraces(context.Background(), td))
	if all := h.sink.AllTraces(); len(all) == 1 {
		return all[0]
	}
	return ptrace.NewTraces()
}

func marshal(tb testing.TB, td ptrace.Traces) string {
	tb.Helper()
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	require.NoError(tb, err)
	return string(b)
}

func oneSpan() (ptrace.Traces, ptrace.ResourceSpans, ptrace.ScopeSpans, ptrace.Span) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("scope")
	s := ss.Spans().AppendEmpty()
	s.SetName("GET /")
	s.SetTraceID([16]byte{1})
	s.SetSpanID([8]byte{2})
	return td, rs, ss, s
}

// canaries are one secret for each place and form in which a text can stand. Each is a mail address of its own.
func canaries() (ptrace.Traces, int) {
	td, rs, ss, s := oneSpan()
	n := 0
	next := func() string {
		n++
		return fmt.Sprintf("canary%03d@example.com", n)
	}
	fill := func(m pcommon.Map) {
		m.PutStr("text", next())
		m.PutStr("key."+next(), "v")
		m.PutEmptyBytes("bytes").FromRaw([]byte("x " + next()))
		m.PutEmptyBytes("binary").FromRaw([]byte("\xff\xfe\x00 " + next()))
		list := m.PutEmptySlice("list")
		list.AppendEmpty().SetStr(next())
		list.AppendEmpty().SetInt(1)
		list.AppendEmpty().SetEmptySlice().AppendEmpty().SetStr(next())
		list.AppendEmpty().SetEmptyMap().PutStr("inner", next())
		kv := m.PutEmptyMap("kv")
		kv.PutStr("inner", next())
		kv.PutStr(next(), "inner key")
		kv.PutEmptyMap("deeper").PutEmptySlice("list").AppendEmpty().SetEmptyBytes().FromRaw([]byte(next()))
		m.PutStr("url", "https://h/?x=1&mail="+next())
		m.PutStr("json", `{"a":"`+next()+`"}`)
		m.PutStr("db.system", "postgresql")
		m.PutStr("db.statement", "select '"+next()+"'")
		m.PutStr("password", next())
	}
	fill(rs.Resource().Attributes())
	rs.SetSchemaUrl("https://h/" + next())
	ref := entity.ResourceEntityRefs(rs.Resource()).AppendEmpty()
	ref.SetType(next())
	ref.SetSchemaUrl("https://h/" + next())
	ref.IdKeys().Append("service.name", "key."+next())
	ref.DescriptionKeys().Append(next())
	fill(ss.Scope().Attributes())
	ss.Scope().SetName("scope " + next())
	ss.Scope().SetVersion("v " + next())
	ss.SetSchemaUrl("https://h/" + next())
	fill(s.Attributes())
	s.SetName("GET /" + next())
	s.Status().SetMessage("no account for " + next())
	s.TraceState().FromRaw("vendor=" + next() + ",ot=th:8;rv:abcdef01234567")
	e := s.Events().AppendEmpty()
	e.SetName("event " + next())
	fill(e.Attributes())
	l := s.Links().AppendEmpty()
	l.TraceState().FromRaw("ot=th:8, vendor=" + next())
	fill(l.Attributes())
	return td, n
}

func TestEveryPlace(t *testing.T) {
	td, n := canaries()
	before := marshal(t, td)
	require.Equal(t, n, strings.Count(before, "canary"))

	report := start(t, func(c *Config) { c.Mode = modeReport })
	assert.Equal(t, before, marshal(t, report.run(t, td)), "report changes nothing")
	snap := report.snapshot(t)
	i := slices.IndexFunc(snap.Rules, func(r pii.RuleStatus) bool { return r.Name == "emails" })
	// Passwords and statements have their own rules.
	assert.Positive(t, snap.Rules[i].Hits)
	for p := range pii.NumPlaces {
		assert.Positive(t, snap.Rules[i].ByPlace[p.String()], "place %s", p)
	}
	assert.NotContains(t, fmt.Sprint(snap), "canary")

	h := start(t, nil)
	out := h.run(t, td)
	after := marshal(t, out)
	assert.NotContains(t, after, "canary")
	span := out.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	assert.Equal(t, "ot=th:8;rv:abcdef01234567", span.TraceState().AsRaw())
	assert.Equal(t, "ot=th:8", span.Links().At(0).TraceState().AsRaw())
	v, _ := span.Attributes().Get("db.statement")
	assert.Equal(t, "select ?", v.Str())
	v, ok := span.Attributes().Get(pii.QueryHashKey)
	require.True(t, ok)
	assert.Len(t, v.Str(), 32)
	v, _ = span.Attributes().Get("binary")
	assert.Equal(t, "\xff\xfe\x00 [REDACTED:email]", string(v.Bytes().AsRaw()))
	v, _ = span.Attributes().Get("list")
	assert.Equal(t, int64(1), v.Slice().At(1).Int())

	again := h.run(t, out)
	assert.Equal(t, after, marshal(t, again), "a second pass changes nothing")
}

func (h *harness) snapshot(tb testing.TB) pii.Snapshot {
	tb.Helper()
	for _, s := range boardOf(tb).Snapshots() {
		if s.Component == h.id {
			return s
		}
	}
	tb.Fatal("no ledger of " + h.id)
	return pii.Snapshot{}
}

func TestActionsOnSpans(t *testing.T) {
	t.Setenv("PII_TEST_KEY", testKey)
	h := start(t, func(c *Config) {
		c.MarkSpans = true
		c.HashKey.Env = "PII_TEST_KEY"
		c.Rules = map[string]pii.RuleConfig{
			"emails": {Action: "hash"},
			"cards":  {Action: "mask"},
			"notes":  {Keys: []string{"note"}, Action: "drop"},
			"spies":  {Patterns: []string{`agent-\d{3}`}, Action: "drop_span"},
		}
	})
	td, _, ss, s := oneSpan()
	s.Attributes().PutStr("a", "alice@example.com")
	s.Attributes().PutInt("card", 4242424242424242)
	s.Attributes().PutStr("note", "x")
	s.Attributes().PutStr("keep", "y")
	s.Attributes().PutEmptyMap("m").PutStr("note", "z")
	ss.Spans().AppendEmpty().SetName("agent-007")
	ss.Spans().AppendEmpty().SetName("clean")
	ss.Spans().AppendEmpty().Events().AppendEmpty().Attributes().PutStr("x", "agent-008")
	out := h.run(t, td)
	spans := out.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	require.Equal(t, 2, spans.Len())
	assert.Equal(t, "clean", spans.At(1).Name())
	raw := spans.At(0).Attributes().AsRaw()
	assert.Regexp(t, `^hmac:[0-9a-f]{32}$`, raw["a"])
	assert.Equal(t, "****4242", raw["card"])
	assert.Equal(t, "y", raw["keep"])
	assert.NotContains(t, raw, "note")
	assert.Equal(t, []any{"emails", "cards", "notes"}, raw[pii.RedactedMarker])
	assert.NotContains(t, spans.At(1).Attributes().AsRaw(), pii.RedactedMarker)

	metadatatest.AssertEqualProcessorPiiSpansDropped(t, h.tel, []metricdata.DataPoint[int64]{{Value: 2}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorPiiSpansChanged(t, h.tel, []metricdata.DataPoint[int64]{{Value: 3}}, metricdatatest.IgnoreTimestamp())
}

func TestDropSpanEmptiesContainers(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Rules = map[string]pii.RuleConfig{"spies": {Patterns: []string{`agent-\d{3}`}, Action: "drop_span"}}
	})
	td, _, _, s := oneSpan()
	s.SetName("agent-007")
	assert.Equal(t, 0, h.run(t, td).ResourceSpans().Len())
	assert.Empty(t, h.sink.AllTraces(), "nothing is sent on")

	// One resource of two is spared, with its empty scope.
	td, _, _, s = oneSpan()
	s.SetName("agent-007")
	other := td.ResourceSpans().AppendEmpty()
	other.ScopeSpans().AppendEmpty()
	other.ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("good")
	out := h.run(t, td)
	require.Equal(t, 1, out.ResourceSpans().Len())
	assert.Equal(t, 1, out.SpanCount())

	// A hit in a resource or scope concerns all its spans.
	td, rs, _, _ := oneSpan()
	rs.Resource().Attributes().PutStr("who", "agent-007")
	assert.Equal(t, 0, h.run(t, td).SpanCount())
	td, _, ss, _ := oneSpan()
	ss.Scope().SetName("agent-007")
	assert.Equal(t, 0, h.run(t, td).SpanCount())

	// An empty batch and batches without spans pass.
	require.NoError(t, h.ConsumeTraces(context.Background(), ptrace.NewTraces()))
}

func TestReportDropsNothing(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Mode = modeReport
		c.Rules = map[string]pii.RuleConfig{"spies": {Patterns: []string{`agent-\d{3}`}, Action: "drop_span"}, "n": {Keys: []string{"note"}, Action: "drop"}}
	})
	td, _, _, s := oneSpan()
	s.SetName("agent-007")
	s.Attributes().PutStr("note", "x")
	s.TraceState().FromRaw("v=agent-007")
	before := marshal(t, td)
	assert.Equal(t, before, marshal(t, h.run(t, td)))
	set := func(rule, place string) attribute.Set {
		return attribute.NewSet(attribute.String("rule", rule), attribute.String("place", place),
			attribute.String("service", "shop"), attribute.String("action", "report"))
	}
	metadatatest.AssertEqualProcessorPiiHits(t, h.tel, []metricdata.DataPoint[int64]{
		{Value: 1, Attributes: set("spies", "span_name")}, {Value: 1, Attributes: set("n", "span")}, {Value: 1, Attributes: set("spies", "tracestate")},
	}, metricdatatest.IgnoreTimestamp())
}

func TestRenamedKeys(t *testing.T) {
	h := start(t, nil)
	td, _, _, s := oneSpan()
	s.Attributes().PutInt("alice@example.com", 1)
	s.Attributes().PutInt("bob@example.com", 2)
	s.Attributes().PutInt("[REDACTED:email]", 3)
	s.Attributes().PutInt("plain", 4)
	assert.Equal(t, map[string]any{
		"[REDACTED:email]": int64(3), "[REDACTED:email]_2": int64(1), "[REDACTED:email]_3": int64(2), "plain": int64(4),
	}, h.run(t, td).ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw())
}

func TestSensitiveKeyTakesEverythingBelow(t *testing.T) {
	h := start(t, nil)
	td, _, _, s := oneSpan()
	s.Attributes().PutEmptySlice("http.request.header.authorization").AppendEmpty().SetStr("Custom x")
	m := s.Attributes().PutEmptyMap("credentials")
	m.PutStr("user", "bob")
	m.PutInt("pin", 1234)
	m.PutBool("ok", true)
	headers := s.Attributes().PutEmptyMap("headers")
	headers.PutStr("Cookie", "a=b")
	headers.PutStr("accept", "text/html")
	raw := h.run(t, td).ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw()
	assert.Equal(t, []any{"[REDACTED]"}, raw["http.request.header.authorization"])
	assert.Equal(t, map[string]any{"user": "[REDACTED]", "pin": "[REDACTED]", "ok": true}, raw["credentials"])
	assert.Equal(t, map[string]any{"Cookie": "[REDACTED]", "accept": "text/html"}, raw["headers"])
}

// TestOwnAttributesAreNoHidingPlace: the names of what the processor itself writes protect nothing that clients write.
func TestOwnAttributesAreNoHidingPlace(t *testing.T) {
	h := start(t, func(c *Config) { c.MarkSpans = true })
	td, _, _, s := oneSpan()
	s.Attributes().PutStr(pii.QueryHashKey, "alice@example.com")
	s.Attributes().PutEmptySlice(pii.RedactedMarker).AppendEmpty().SetStr("password=hunter2")
	s.Attributes().PutStr("db.query.text", "SELECT a FROM t WHERE name = 'Smith'")
	out := h.run(t, td)
	raw := out.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw()
	assert.Equal(t, "[REDACTED:email]", raw[pii.QueryHashKey], "there is one already")
	assert.Equal(t, []any{"statements", "text_assignments", "emails"}, raw[pii.RedactedMarker])
	before := marshal(t, out)
	assert.Equal(t, before, marshal(t, h.run(t, out)), "and what it writes itself stays")
}

func TestStatementRepeatedInNameAndMessage(t *testing.T) {
	h := start(t, nil)
	td, _, _, s := oneSpan()
	sql := "SELECT a FROM t WHERE name = 'Smith'"
	s.Attributes().PutStr("db.system.name", "postgresql")
	s.Attributes().PutStr("db.query.text", sql)
	s.SetName(sql)
	s.Status().SetMessage("timeout in: " + sql)
	out := h.run(t, td).ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	assert.Equal(t, "SELECT a FROM t WHERE name = ?", out.Name())
	assert.Equal(t, "timeout in: SELECT a FROM t WHERE name = ?", out.Status().Message())
	// The next span has no statement: its name is its own.
	td, _, _, s = oneSpan()
	s.SetName(sql)
	assert.Equal(t, sql, h.run(t, td).ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name())
}

// TestNeverTouched: what association with pods, the service graph and sampling read comes out as it went in, also when
// it looks like something to be found.
func TestNeverTouched(t *testing.T) {
	h := start(t, func(c *Config) {
		on := true
		c.Rules = map[string]pii.RuleConfig{}
		for _, r := range []string{"ip_addresses", "phone_numbers", "iban", "national_ids"} {
			c.Rules[r] = pii.RuleConfig{Enabled: &on}
		}
	})
	td, rs, _, s := oneSpan()
	for _, m := range []pcommon.Map{rs.Resource().Attributes(), s.Attributes()} {
		for _, k := range []string{
			"service.name", "service.instance.id", "k8s.pod.ip", "k8s.pod.name", "k8s.pod.uid", "host.name", "host.ip", "telemetry.sdk.name",
			"server.address", "network.peer.address", "net.peer.name", "peer.service", "trace_id", "span_id", "container.id",
		} {
			m.PutStr(k, "192.0.2.1 alice@example.com")
		}
		m.PutInt("server.port", 8080)
		m.PutInt("network.peer.port", 4242424242424242)
	}
	s.TraceState().FromRaw("ot=alice@example.com")
	before := marshal(t, td)
	assert.Equal(t, before, marshal(t, h.run(t, td)))
}

func TestDeepValues(t *testing.T) {
	for _, depth := range []int{1000, 5000} {
		h := start(t, nil)
		td, _, _, s := oneSpan()
		m := s.Attributes().PutEmptyMap("m")
		list := s.Attributes().PutEmptySlice("l")
		for range depth {
			m.PutStr("mail", "alice@example.com")
			m = m.PutEmptyMap("m")
			list = list.AppendEmpty().SetEmptySlice()
		}
		m.PutStr("mail", "alice@example.com")
		list.AppendEmpty().SetStr("alice@example.com")
		out := marshal(t, h.run(t, td))
		assert.NotContains(t, out, "alice")
		assert.Equal(t, depth > maxDepth, strings.Contains(out, tooDeep))
		if depth > maxDepth {
			metadatatest.AssertEqualProcessorPiiDeepValuesDropped(t, h.tel, []metricdata.DataPoint[int64]{{Value: 2}}, metricdatatest.IgnoreTimestamp())
		}
	}
}

// TestServicesAreBounded: metrics must not grow with the names that clients invent.
func TestServicesAreBounded(t *testing.T) {
	h := start(t, func(c *Config) { c.MaxServices = 3 })
	for i := range 20 {
		td, rs, _, s := oneSpan()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("s%d-%s", i, t.Name()))
		s.SetName("alice@example.com")
		h.run(t, td)
	}
	m, err := h.tel.GetMetric("otelcol_processor_pii_hits")
	require.NoError(t, err)
	points := m.Data.(metricdata.Sum[int64]).DataPoints
	assert.LessOrEqual(t, len(points), 4)
	total := int64(0)
	for _, p := range points {
		total += p.Value
	}
	assert.Equal(t, int64(20), total)
}

// TestReferenceWorkload: spans of the reference workload without URL queries and Redis commands are clean and come out
// byte for byte; and a second pass changes nothing on any.
func TestReferenceWorkload(t *testing.T) {
	h := start(t, nil)
	td := cleanSpans(testkit.NewGenerator(1).Traces(2000))
	require.Greater(t, td.SpanCount(), 800)
	before := marshal(t, td)
	assert.Equal(t, before, marshal(t, h.run(t, td)))

	once := h.run(t, testkit.NewGenerator(2).Traces(2000))
	after := marshal(t, once)
	assert.Equal(t, after, marshal(t, h.run(t, once)))
}

// TestAssociationGraphAndSampling: everything that association with pods, the service graph and sampling policies read is
// the same with and without the processor, for spans in which much is found.
func TestAssociationGraphAndSampling(t *testing.T) {
	h := start(t, nil)
	want := testkit.NewGenerator(5).Traces(3000)
	got := testkit.NewGenerator(5).Traces(3000)
	for _, td := range []ptrace.Traces{want, got} {
		for _, rs := range td.ResourceSpans().All() {
			rs.Resource().Attributes().PutStr("owner", "alice@example.com")
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					s.Attributes().PutStr("password", "x")
					s.TraceState().FromRaw("v=alice@example.com,ot=th:c;rv:" + s.SpanID().String()[:14])
				}
			}
		}
	}
	got = h.run(t, got)
	seen := 0
	require.Equal(t, want.ResourceSpans().Len(), got.ResourceSpans().Len())
	for i, rs := range want.ResourceSpans().All() {
		rs2 := got.ResourceSpans().At(i)
		same(t, rs.Resource().Attributes(), rs2.Resource().Attributes())
		for j, ss := range rs.ScopeSpans().All() {
			for k, a := range ss.Spans().All() {
				b := rs2.ScopeSpans().At(j).Spans().At(k)
				same(t, a.Attributes(), b.Attributes())
				require.Equal(t, a.TraceID(), b.TraceID())
				require.Equal(t, a.SpanID(), b.SpanID())
				require.Equal(t, a.ParentSpanID(), b.ParentSpanID())
				require.Equal(t, a.Kind(), b.Kind())
				require.Equal(t, a.Status().Code(), b.Status().Code())
				require.Equal(t, a.StartTimestamp(), b.StartTimestamp())
				require.Equal(t, a.EndTimestamp(), b.EndTimestamp())
				require.Equal(t, a.Flags(), b.Flags())
				require.Equal(t, "ot=th:c;rv:"+a.SpanID().String()[:14], b.TraceState().AsRaw())
				require.Equal(t, a.Name(), b.Name())
				seen++
			}
		}
	}
	require.GreaterOrEqual(t, seen, 3000)
}

// same compares the attributes that others depend on.
func same(t *testing.T, a, b pcommon.Map) {
	t.Helper()
	for k, v := range a.All() {
		depended := slices.ContainsFunc([]string{"service.", "k8s.", "host.", "telemetry.", "network.peer.", "server."}, func(p string) bool {
			return strings.HasPrefix(k, p)
		}) || slices.Contains([]string{
			"peer.service", "db.system.name", "db.namespace", "db.collection.name", "db.operation.name", "messaging.system",
			"messaging.destination.name", "http.request.method", "http.route", "http.response.status_code", "error.type", "rpc.method",
		}, k)
		if !depended {
			continue
		}
		w, ok := b.Get(k)
		require.True(t, ok, k)
		require.Equal(t, v.AsRaw(), w.AsRaw(), k)
	}
}

// cleanSpans removes the spans in which the default rules find something on purpose: values of URL queries, literals in
// SQL, and the words of Redis commands.
func cleanSpans(td ptrace.Traces) ptrace.Traces {
	for i := range td.ResourceSpans().Len() {
		scopes := td.ResourceSpans().At(i).ScopeSpans()
		for j := range scopes.Len() {
			scopes.At(j).Spans().RemoveIf(func(s ptrace.Span) bool {
				for k, v := range s.Attributes().All() {
					switch {
					case strings.HasPrefix(k, "url.") && strings.Contains(v.Str(), "?"),
						k == "db.query.text" && strings.Contains(v.Str(), "LIMIT 50"),
						k == "db.system.name" && v.Str() == "redis":
						return true
					}
				}
				return false
			})
		}
	}
	return td
}
