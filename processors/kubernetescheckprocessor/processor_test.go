package kubernetescheckprocessor

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/processors/kubernetescheckprocessor/internal/metadatatest"
)

// rig is a started processor behind the Collector's helper.
type rig struct {
	*checkProcessor
	send func(context.Context, ptrace.Traces)
	sink *consumertest.TracesSink
	logs *observer.ObservedLogs
	tel  *componenttest.Telemetry
}

func start(t *testing.T) *rig {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	r := &rig{sink: new(consumertest.TracesSink), logs: logs, tel: componenttest.NewTelemetry()}
	set := metadatatest.NewSettings(r.tel)
	set.Logger = zap.New(core)
	cfg := createDefaultConfig().(*Config)
	r.checkProcessor = newProcessor(set, cfg)
	p, err := processorhelper.NewTraces(t.Context(), set, cfg, r.sink, r.processTraces, processorhelper.WithStart(r.start), processorhelper.WithShutdown(r.shutdown))
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	r.nodes = map[netip.Addr]bool{netip.MustParseAddr("10.244.0.1"): true, netip.MustParseAddr("192.0.2.10"): true}
	r.send = func(ctx context.Context, td ptrace.Traces) { require.NoError(t, p.ConsumeTraces(ctx, td)) }
	t.Cleanup(func() {
		require.NoError(t, p.Shutdown(context.Background()))
		require.NoError(t, r.tel.Shutdown(context.Background()))
	})
	return r
}

func from(addr net.Addr) context.Context {
	return client.NewContext(context.Background(), client.Info{Addr: addr})
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }

// batch has a resource with n spans in two scopes.
func batch(n int, attributes ...string) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	for i := 0; i+1 < len(attributes); i += 2 {
		rs.Resource().Attributes().PutStr(attributes[i], attributes[i+1])
	}
	rs.ScopeSpans().AppendEmpty()
	ss := rs.ScopeSpans().AppendEmpty()
	for range n {
		ss.Spans().AppendEmpty()
	}
	return td
}

func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		ctx        context.Context
		attributes []string
		want       reason
		fail       string
	}{
		"no address at all":         {ctx: context.Background(), want: noAddress},
		"an address of no form":     {ctx: from(&net.UnixAddr{Name: "/tmp/x"}), want: noAddress},
		"loopback":                  {ctx: from(tcp("127.0.0.1")), want: loopback},
		"loopback of IPv6":          {ctx: from(tcp("::1")), want: loopback},
		"the bridge":                {ctx: from(tcp("10.244.0.1")), want: nodeAddress},
		"the node, as IPv6":         {ctx: from(&net.UDPAddr{IP: net.ParseIP("::ffff:192.0.2.10"), Port: 1}), want: nodeAddress},
		"a pod that nobody knows":   {ctx: from(tcp("10.244.0.7")), want: unknownPod},
		"an address without a port": {ctx: from(&net.IPAddr{IP: net.ParseIP("10.244.0.7")}), want: unknownPod},
		"it says its uid":           {ctx: from(tcp("127.0.0.1")), attributes: []string{"k8s.pod.uid", "u"}, want: unknownPod},
		"it says its address":       {ctx: from(tcp("10.244.0.1")), attributes: []string{"k8s.pod.ip", "10.0.0.1"}, want: unknownPod},
		"it says half of it":        {ctx: from(tcp("10.244.0.7")), attributes: []string{"k8s.pod.name", "p"}, want: unknownPod},
		"it says nothing":           {ctx: from(tcp("127.0.0.1")), attributes: []string{"k8s.pod.name", "", "k8s.namespace.name", "n"}, want: loopback},
		"rights":                    {ctx: from(tcp("10.244.0.7")), want: rightsMissing, fail: kubecheck.RightsCheck + "pods"},
		"API server":                {ctx: from(tcp("10.244.0.7")), want: apiUnreachable, fail: kubecheck.APICheck},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			if tc.fail != "" {
				ext, err := selfcheck.Join("kubernetes_check")
				require.NoError(t, err)
				ext.Report(selfcheck.Check{Name: tc.fail, State: selfcheck.Fail})
				defer func() { require.NoError(t, ext.Leave()) }()
			}
			td := batch(3, tc.attributes...)
			r.send(tc.ctx, td)
			for other := range numReasons {
				want := int64(0)
				if other == tc.want {
					want = 3
				}
				assert.Equal(t, want, r.without[other].Load(), "%s", other)
			}
			require.Len(t, r.sink.AllTraces(), 1)
			assert.Equal(t, td, r.sink.AllTraces()[0], "nothing is changed")
		})
	}
}

func TestMetadataIsThere(t *testing.T) {
	r := start(t)
	r.send(from(tcp("127.0.0.1")), batch(5, "k8s.pod.name", "p", "k8s.namespace.name", "n"))
	r.send(from(tcp("127.0.0.1")), batch(0)) // Nothing is missing of nothing.
	checks := r.report()
	require.Len(t, checks, 1)
	assert.Equal(t, selfcheck.OK, checks[0].State)
	assert.Contains(t, checks[0].Detail, "all of 5 spans")
	assert.Zero(t, r.logs.Len())
	metadatatest.AssertEqualProcessorKubernetesCheckSpans(t, r.tel, []metricdata.DataPoint[int64]{{Value: 5}}, metricdatatest.IgnoreTimestamp())
}

// TestTold: each reason is in the log once in a while with the number since, on the board, and in the metric.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t)
		pod, self := from(tcp("10.244.0.7")), from(tcp("127.0.0.1"))
		for range 10 {
			r.send(pod, batch(2, "service.name", "secret-name"))
		}
		r.send(self, batch(1))
		require.Equal(t, 2, r.logs.Len(), "one line for each reason")
		assert.EqualValues(t, 2, r.logs.All()[0].ContextMap()["spans"])
		assert.Equal(t, "10.244.0.7", r.logs.All()[0].ContextMap()["sender"])
		assert.Equal(t, "loopback", r.logs.All()[1].ContextMap()["reason"])

		c := r.source.Board().Checks()[0]
		assert.Equal(t, MetadataCheck, c.Name)
		assert.Equal(t, selfcheck.Warn, c.State)
		assert.Contains(t, c.Detail, "21 of 21 spans have no metadata: loopback=1 unknown_pod=20")
		assert.Contains(t, c.Fix, "unknown_pod: no pod of this node")

		time.Sleep(defaultLogInterval)
		c = r.report()[0]
		assert.Equal(t, selfcheck.OK, c.State, "what is over is told, and no warning")
		assert.Contains(t, c.Detail, "the last at ")
		r.send(pod, batch(1))
		require.Equal(t, 3, r.logs.Len())
		assert.EqualValues(t, 19, r.logs.All()[2].ContextMap()["spans"], "those since the line before")
		for _, l := range r.logs.All() {
			assert.NotContains(t, l.ContextMap(), "service.name")
			assert.NotContains(t, l.Message, "secret-name")
		}
		var points []metricdata.DataPoint[int64]
		for i, n := range []int64{0, 0, 0, 1, 0, 21} {
			points = append(points, metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(attribute.String("reason", names[i]))})
		}
		metadatatest.AssertEqualProcessorKubernetesCheckSpansWithoutMetadata(t, r.tel, points, metricdatatest.IgnoreTimestamp())
	})
}

func TestGateways(t *testing.T) {
	const route = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100F40A	0003	0	0	0	00000000	0	0	0
eth0	0000F40A	0100F40A	0003	0	0	0	00FFFFFF	0	0	0
eth1	00000000	00000000	0001	0	0	0	00000000	0	0	0
eth2	00000000	xyz	0001
`
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.244.0.1")}, gateways4(strings.NewReader(route)))
	const route6 = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 0 00 fd00
`
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("fd00::1")}, gateways6(strings.NewReader(route6)))
}

func TestNodeAddresses(t *testing.T) {
	t.Setenv("NODE_IP", "192.0.2.77")
	t.Setenv("HOST_IP", "no address")
	got := nodeAddresses()
	assert.True(t, got[netip.MustParseAddr("192.0.2.77")])
	assert.True(t, got[netip.MustParseAddr("127.0.0.1")], "%v", got)
}

func FuzzGateways(f *testing.F) {
	f.Add("a 00000000 0100F40A")
	f.Add(strings.Repeat("0", 32) + " 00 0 00 fd000000000000000000000000000001")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range append(gateways4(strings.NewReader(text)), gateways6(strings.NewReader(text))...) {
			if !a.IsValid() {
				t.Fatal("an address that is none")
			}
		}
	})
}

func BenchmarkWithMetadata(b *testing.B) {
	p := newProcessor(metadatatest.NewSettings(componenttest.NewTelemetry()), createDefaultConfig().(*Config))
	require.NoError(b, p.start(b.Context(), nil))
	defer func() { _ = p.shutdown(context.Background()) }()
	ctx := from(tcp("10.244.0.7"))
	for name, td := range map[string]ptrace.Traces{"there": batch(100, "k8s.pod.name", "p", "k8s.namespace.name", "n"), "missing": batch(100)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = p.processTraces(ctx, td) // It cannot fail.
			}
		})
	}
}
