package doctor

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/kubecheck/kubechecktest"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

func TestAllIsWell(t *testing.T) {
	i := install(t, nil)
	i.agent = `{"ready":"ready","checks":[{"name":"pipelines","state":"ok"},{"name":"x","state":"skipped"}]}`
	got := diagnose(t, Options{Targets: i.targets()})
	for name, c := range got {
		if name != kubecheck.APICheck {
			assert.Equal(t, selfcheck.OK, c.State, "%+v", c)
		}
	}
	assert.Contains(t, got["trace"].Detail, "over grpc and http and read back")
	assert.Contains(t, got, "clock/127.0.0.1")
}

// failure is something that is wrong, the check that must say so, and what it must say.
type failure struct {
	change func(*testing.T, *installation, *Options)
	check  string
	says   []string
	state  selfcheck.State
}

func TestEachFailureIsNamed(t *testing.T) {
	swap := func(e *Endpoint, with Endpoint) { e.Port = with.Port }
	for name, tc := range map[string]failure{
		"gRPC is spoken to the port of HTTP": {
			func(_ *testing.T, i *installation, _ *Options) { swap(&i.grpc, i.http) },
			"otlp/grpc",
			[]string{"speaks HTTP/1.1 and not gRPC", "the ports are swapped"},
			selfcheck.Fail,
		},
		"HTTP is spoken to the port of gRPC": {
			func(_ *testing.T, i *installation, _ *Options) { swap(&i.http, i.grpc) },
			"otlp/http",
			[]string{"speaks gRPC and not HTTP/1.1", "the ports are swapped"},
			selfcheck.Fail,
		},
		"nobody listens": {
			func(t *testing.T, i *installation, _ *Options) { swap(&i.grpc, closedPort(t)) },
			"otlp/grpc",
			[]string{"connection refused", "nobody listens there", "4317 gRPC, 4318 HTTP"},
			selfcheck.Fail,
		},
		"nobody answers": {
			func(t *testing.T, i *installation, o *Options) {
				swap(&i.http, silent(t, ""))
				o.Timeout = 2 * time.Second
			},
			"otlp/http",
			[]string{"something else listens there"},
			selfcheck.Fail,
		},
		"another protocol": {
			func(t *testing.T, i *installation, _ *Options) {
				swap(&i.grpc, silent(t, "220 mail.example.com ESMTP\r\n"))
			},
			"otlp/grpc",
			[]string{"something else listens there"},
			selfcheck.Fail,
		},
		"another path": {
			func(_ *testing.T, i *installation, _ *Options) { i.http.Path = "/v1/traces/v1/traces" },
			"otlp/http",
			[]string{"has no /v1/traces/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT is without /v1/traces"},
			selfcheck.Fail,
		},
		"TLS to plain text": {
			func(_ *testing.T, i *installation, _ *Options) { i.http.TLS = true },
			"otlp/http",
			[]string{"speaks plain text, and is spoken to by TLS", "http:// instead of https://"},
			selfcheck.Fail,
		},
		"TLS to plain gRPC": {
			func(_ *testing.T, i *installation, _ *Options) { i.grpc.TLS = true },
			"otlp/grpc",
			[]string{"speaks plain text, and is spoken to by TLS"},
			selfcheck.Fail,
		},
		"credentials are missing": {
			func(_ *testing.T, i *installation, _ *Options) {
				i.refuse = status.Error(codes.Unauthenticated, "no token")
			},
			"otlp/grpc",
			[]string{"wants credentials", "--header"},
			selfcheck.Fail,
		},
		"the agent is full": {
			func(_ *testing.T, i *installation, _ *Options) {
				i.refuse = status.Error(codes.ResourceExhausted, "no memory")
			},
			"otlp/grpc",
			[]string{"takes nothing now", "memory limit"},
			selfcheck.Fail,
		},
		"queries want credentials": {
			func(_ *testing.T, i *installation, _ *Options) { i.status = http.StatusUnauthorized },
			"query",
			[]string{"wants credentials", "--header"},
			selfcheck.Fail,
		},
		"queries go to a receiver": {
			func(_ *testing.T, i *installation, _ *Options) { swap(&i.query, i.http) },
			"query",
			[]string{"is a receiver of OTLP, not the query API", "queries go to port 3200"},
			selfcheck.Fail,
		},
		"queries go to gRPC": {
			func(_ *testing.T, i *installation, _ *Options) { swap(&i.query, i.grpc) },
			"query",
			[]string{"speaks gRPC and not HTTP/1.1"},
			selfcheck.Fail,
		},
		"queries go elsewhere": {
			func(t *testing.T, i *installation, _ *Options) {
				s := httptest.NewServer(http.RedirectHandler("/login", http.StatusFound)) // As Grafana does.
				t.Cleanup(s.Close)
				swap(&i.query, endpoint(t, s.Listener.Addr().String(), protocolHTTP, ""))
			},
			"query",
			[]string{"is no query API", "3200"},
			selfcheck.Fail,
		},
		"the trace is never found": {
			func(_ *testing.T, i *installation, o *Options) { i.hide = 1 << 30; o.Wait = 500 * time.Millisecond },
			"trace",
			[]string{"the span over grpc and the span over http of it is not found", "not found)", "same installation"},
			selfcheck.Fail,
		},
		"only some agents have the trace": {
			func(_ *testing.T, i *installation, _ *Options) { i.hide = 15 },
			"trace",
			[]string{"at question 16", "trace_query::peers"},
			selfcheck.Warn,
		},
		"the agent has something to say": {
			func(_ *testing.T, i *installation, _ *Options) {
				i.agent = `{"checks":[{"name":"peers","state":"warn","detail":"2 of 3","fix":"look"},{"name":"a","state":"ok"}]}`
			},
			"agent/peers",
			[]string{"2 of 3", "look"},
			selfcheck.Warn,
		},
		"the agent says nothing": {
			func(*testing.T, *installation, *Options) {}, "agent", []string{"as Tempo does not"}, selfcheck.Skipped,
		},
		"what it says is no JSON": {
			func(_ *testing.T, i *installation, _ *Options) { i.agent = "\xff{" }, "agent", []string{"tells no checks"}, selfcheck.Skipped,
		},
		"its clock is hours ahead": {
			func(_ *testing.T, i *installation, _ *Options) {
				i.header.Set("Date", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat))
			},
			"clock/127.0.0.1",
			[]string{"3h0m", "ahead of this one", "NTP"},
			selfcheck.Fail,
		},
		"its clock is minutes behind": {
			func(_ *testing.T, i *installation, _ *Options) {
				i.header.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
			},
			"clock/127.0.0.1",
			[]string{"behind this one"},
			selfcheck.Fail,
		},
		"it is not to be looked at": {
			func(_ *testing.T, _ *installation, o *Options) { o.Skip = []string{"otlp"} }, "otlp/grpc", []string{"left out by --skip=otlp"}, selfcheck.Skipped,
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t, nil)
			o := Options{Targets: i.targets()}
			tc.change(t, i, &o)
			c, ok := diagnose(t, o)[tc.check]
			require.True(t, ok, "there is no check %s", tc.check)
			assert.Equal(t, tc.state, c.State, "%+v", c)
			for _, want := range tc.says {
				assert.Contains(t, c.Detail+"\n"+c.Fix, want)
			}
		})
	}
}

// TestNotReady: the query port is one, and answers 503 at /ready.
func TestNotReady(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/echo" {
			_, _ = w.Write([]byte("echo"))
			return
		}
		http.Error(w, "not ready: the pipelines are starting", http.StatusServiceUnavailable)
	}))
	defer s.Close()
	e := endpoint(t, s.Listener.Addr().String(), protocolHTTP, "")
	got := diagnose(t, Options{Targets: Targets{Query: &e}})
	assert.Equal(t, selfcheck.Fail, got["query"].State)
	assert.Contains(t, got["query"].Detail, "the pipelines are starting")
	assert.Equal(t, selfcheck.Skipped, got["trace"].State)
	assert.Equal(t, selfcheck.Skipped, got["otlp/grpc"].State)
}

func TestTLS(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	conf, ca := certificates(t, "127.0.0.1", tomorrow)
	i := install(t, conf)
	got := diagnose(t, Options{Targets: i.targets(), TLS: TLS{CAFile: ca}})
	for _, name := range []string{"otlp/grpc", "otlp/http", "query", "trace"} {
		assert.Equal(t, selfcheck.OK, got[name].State, "%+v", got[name])
	}
	says := func(o Options, want string) {
		t.Helper()
		got := diagnose(t, o)
		for _, name := range []string{"otlp/grpc", "otlp/http", "query"} {
			assert.Equal(t, selfcheck.Fail, got[name].State, name)
			assert.Contains(t, got[name].Detail+"\n"+got[name].Fix, want, name)
		}
	}
	says(Options{Targets: i.targets()}, "--ca-file")
	i.grpc.TLS, i.http.TLS, i.query.TLS = false, false, false
	got = diagnose(t, Options{Targets: i.targets(), Timeout: 15 * time.Second})
	for _, name := range []string{"otlp/grpc", "query"} {
		assert.Contains(t, got[name].Detail, "speaks TLS, and is spoken to in plain text", name)
	}

	conf, ca = certificates(t, "other.example.com", tomorrow)
	says(Options{Targets: install(t, conf).targets(), TLS: TLS{CAFile: ca}}, "for other names than 127.0.0.1")
	conf, ca = certificates(t, "127.0.0.1", time.Now().Add(-time.Hour))
	says(Options{Targets: install(t, conf).targets(), TLS: TLS{CAFile: ca}}, "not valid now")
	got = diagnose(t, Options{Targets: install(t, conf).targets(), TLS: TLS{Insecure: true}})
	assert.Equal(t, selfcheck.OK, got["trace"].State)
}

func TestNames(t *testing.T) {
	i := install(t, nil)
	server := nameserver(t, "bramble.tracing")
	i.grpc.Host, i.http.Host, i.query.Host = "bramble.tracing", "brambel.tracing", "bramble.tracing"
	got := diagnose(t, Options{Targets: i.targets(), DNSServer: server})
	assert.Equal(t, selfcheck.OK, got["dns/bramble.tracing"].State, "%+v", got["dns/bramble.tracing"])
	assert.Equal(t, selfcheck.OK, got["otlp/grpc"].State, "%+v", got["otlp/grpc"])
	assert.Equal(t, selfcheck.OK, got["trace"].State)
	c := got["dns/brambel.tracing"]
	assert.Equal(t, selfcheck.Fail, c.State)
	assert.Contains(t, c.Fix, "there is no such name")
	assert.Equal(t, selfcheck.Skipped, got["otlp/http"].State, "one mistake is one failure")
	assert.Contains(t, got["otlp/http"].Detail, "dns/brambel.tracing")

	mute, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = mute.Close() }()
	got = diagnose(t, Options{Targets: i.targets(), DNSServer: mute.LocalAddr().String(), Timeout: time.Second})
	assert.Contains(t, got["dns/bramble.tracing"].Fix, "CoreDNS")
}

func TestSDK(t *testing.T) {
	i := install(t, nil)
	for _, tc := range []struct {
		endpoint Endpoint
		protocol string
		state    selfcheck.State
		says     string
	}{
		{i.http, "", selfcheck.OK, ""},
		{i.http, "http/protobuf", selfcheck.OK, ""},
		{i.grpc, "grpc", selfcheck.OK, ""},
		{i.grpc, "", selfcheck.Warn, "OTEL_EXPORTER_OTLP_PROTOCOL is not set"},
		{i.grpc, "http/protobuf", selfcheck.Fail, "swapped"},
		{i.http, "grpc", selfcheck.Fail, "swapped"},
		{i.http, "thrift", selfcheck.Fail, "it must be grpc, http/protobuf or http/json"},
		{closedPort(t), "grpc", selfcheck.Skipped, "not known"},
	} {
		targets := i.targets()
		targets.SDK = &SDK{Endpoint: tc.endpoint, Protocol: tc.protocol}
		c := diagnose(t, Options{Targets: targets})["otlp/sdk"]
		assert.Equal(t, tc.state, c.State, "%+v", c)
		assert.Contains(t, c.Detail+c.Fix, tc.says)
	}
}

// TestOthers: exporters, pages of metrics, remote write, peers.
func TestOthers(t *testing.T) {
	i := install(t, nil)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := map[string]int{"/metrics": 200, "/-/ready": 200, "/api/v1/write": 204, "/api/v1/push": 401, "/bad": 400}[r.URL.Path]
		if code == 0 {
			code = http.StatusNotFound
		}
		w.WriteHeader(code)
	}))
	defer page.Close()
	at := func(name, path string, write bool) Endpoint {
		e := endpoint(t, page.Listener.Addr().String(), protocolHTTP, path)
		e.Name, e.Write = name, write
		return e
	}
	named := func(e Endpoint, name, protocol string) Endpoint {
		e.Name, e.Protocol = name, protocol
		return e
	}
	targets := i.targets()
	targets.Metrics = []Endpoint{at("metrics/good", "/metrics", false), at("metrics/bad", "/none", false), named(closedPort(t), "metrics/gone", protocolHTTP)}
	targets.Prometheus = []Endpoint{
		at("prometheus/url", "/-/ready", false), at("prometheus/wrong", "/x", false), at("prometheus/write", "/api/v1/write", true),
		at("prometheus/tenant", "/api/v1/push", true), at("prometheus/off", "/off", true), at("prometheus/empty", "/bad", true),
		named(i.grpc, "prometheus/grpc", protocolHTTP),
	}
	targets.Forward = []Endpoint{
		named(i.grpc, "forward/grpc", protocolGRPC), named(i.http, "forward/http", protocolHTTP), named(i.http, "forward/swapped", protocolGRPC),
	}
	targets.Peers = []Endpoint{named(i.grpc, "peers/good", protocolGRPC), named(i.query, "peers/query", protocolGRPC), named(closedPort(t), "peers/gone", protocolGRPC)}
	want := map[string]struct {
		state selfcheck.State
		says  string
	}{
		"metrics/good": {selfcheck.OK, "lines"}, "metrics/bad": {selfcheck.Fail, "something else"}, "metrics/gone": {selfcheck.Fail, "nobody listens"},
		"prometheus/url": {selfcheck.OK, "answers"}, "prometheus/wrong": {selfcheck.Fail, "is it Prometheus"}, "prometheus/write": {selfcheck.OK, "answers"},
		"prometheus/tenant": {selfcheck.Warn, "tenant"}, "prometheus/off": {selfcheck.Fail, "--web.enable-remote-write-receiver"},
		"prometheus/empty": {selfcheck.OK, "takes remote write"}, "prometheus/grpc": {selfcheck.Fail, "gRPC"},
		"forward/grpc": {selfcheck.OK, ""}, "forward/http": {selfcheck.OK, ""}, "forward/swapped": {selfcheck.Fail, "swapped"},
		"peers/good": {selfcheck.OK, ""}, "peers/query": {selfcheck.Fail, "3201"}, "peers/gone": {selfcheck.Fail, "nobody listens"},
	}
	got := diagnose(t, Options{Targets: targets})
	for name, w := range want {
		assert.Equal(t, w.state, got[name].State, "%+v", got[name])
		assert.Contains(t, got[name].Detail+got[name].Fix, w.says, name)
	}
	targets.Remote = "TEMPO_URL is http://elsewhere:3200"
	got = diagnose(t, Options{Targets: targets})
	for name := range want {
		first, _, _ := strings.Cut(name, "/")
		assert.Equal(t, first == "metrics" || first == "peers", got[name].State == selfcheck.Skipped, name)
	}
}

// TestKubernetes: the rights of a configuration, the API server's clock, and metadata of the test trace.
func TestKubernetes(t *testing.T) {
	api := kubechecktest.New(t)
	api.Deny("watch pods")
	api.Header("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", api.Kubeconfig(t))
	t.Setenv("KUBE_NODE_NAME", "n1")
	i := install(t, nil)
	targets := i.targets()
	targets.Kubernetes = kubecheck.PlanOf(map[string]any{
		"processors": map[string]any{"k8s_attributes": map[string]any{"filter": map[string]any{"node_from_env_var": "KUBE_NODE_NAME"}}},
		"service":    map[string]any{"pipelines": map[string]any{"traces": map[string]any{"processors": []any{"k8s_attributes"}}}},
	}, nil, kubecheck.Pod{})
	got := diagnose(t, Options{Targets: targets})
	assert.Equal(t, selfcheck.OK, got[kubecheck.APICheck].State, "%+v", got[kubecheck.APICheck])
	assert.Equal(t, selfcheck.Fail, got[kubecheck.RightsCheck+"pods"].State)
	assert.Equal(t, selfcheck.Fail, got["clock/api-server"].State, "%+v", got["clock/api-server"])
	assert.Equal(t, selfcheck.Warn, got["trace/metadata"].State)
	got = diagnose(t, Options{Targets: targets, Skip: []string{"kubernetes/rights"}})
	assert.NotContains(t, got, kubecheck.RightsCheck+"pods")
	api.CloseClientConnections()
}

// TestHeaders: they go to where spans and queries go, and nowhere else.
func TestHeaders(t *testing.T) {
	i := install(t, nil)
	var mu sync.Mutex
	seen := map[string]bool{}
	record := func(name string, next http.Handler) Endpoint {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen[name] = r.Header.Get("Authorization") == "Bearer x"
			mu.Unlock()
			next.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		e := endpoint(t, s.Listener.Addr().String(), protocolHTTP, tracesPath)
		e.Name = name
		return e
	}
	h, q := record("http", http.HandlerFunc(i.receive)), record("query", http.HandlerFunc(i.answer))
	targets := Targets{
		HTTP: &h, Query: &q, Forward: []Endpoint{record("forward", http.HandlerFunc(i.receive))}, Prometheus: []Endpoint{record("prometheus", http.NotFoundHandler())},
		Metrics: []Endpoint{record("metrics", http.NotFoundHandler())},
	}
	got := diagnose(t, Options{Targets: targets, Headers: map[string]string{"Authorization": "Bearer x"}})
	assert.Equal(t, selfcheck.OK, got["trace"].State)
	assert.Equal(t, map[string]bool{"http": true, "query": true, "forward": false, "prometheus": false, "metrics": false}, seen)
}

func TestBadSettings(t *testing.T) {
	for want, o := range map[string]Options{
		"--dns-server: must be host:port": {DNSServer: "nonsense"},
		"--ca-file":                       {TLS: TLS{CAFile: "/does/not/exist"}},
		"no certificate in PEM form":      {TLS: TLS{CAFile: "doctor_test.go"}},
		"--cert-file, --key-file":         {TLS: TLS{CertFile: "doctor_test.go"}},
	} {
		_, err := Run(t.Context(), o)
		require.ErrorContains(t, err, want)
	}
}

// TestOwnMistake: a panic of one check is its failure and nobody else's.
func TestOwnMistake(t *testing.T) {
	d := &doctor{}
	got := d.stage(t.Context(), []job{
		one("bad", func(context.Context, *selfcheck.Check) { panic("oops") }),
		one("good", func(_ context.Context, c *selfcheck.Check) { c.Detail = "fine" }),
	})
	require.Len(t, got, 2)
	assert.Equal(t, selfcheck.Fail, got[0].State)
	assert.Contains(t, got[0].Detail, "oops")
	assert.Equal(t, "fine", got[1].Detail)
}
