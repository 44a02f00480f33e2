package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/bramble-tracing/bramble/internal/conftree"
	"github.com/bramble-tracing/bramble/internal/kubecheck"
)

// Targets is what is looked at.
type Targets struct {
	// GRPC and HTTP take spans, Query answers queries; nil if there is none.
	GRPC, HTTP, Query *Endpoint
	// SDK is what applications are told by their environment; nil if they are told nothing.
	SDK *SDK
	// Forward are where exporters send spans, Prometheus what takes or has metrics, Metrics the agent's own pages of them,
	// Peers the ports of other agents.
	Forward, Prometheus, Metrics, Peers []Endpoint
	Directories                         []Directory
	Kubernetes                          kubecheck.Plan
	// Remote says why the agent is taken to be elsewhere; empty if it is where the doctor is.
	Remote string
}

// SDK is the environment of an application.
type SDK struct {
	Endpoint
	// Protocol is that of OTEL_EXPORTER_OTLP_PROTOCOL.
	Protocol string
}

func (t *Targets) all() (out []*Endpoint) {
	for _, e := range []*Endpoint{t.GRPC, t.HTTP, t.Query} {
		if e != nil {
			out = append(out, e)
		}
	}
	if t.SDK != nil {
		out = append(out, &t.SDK.Endpoint)
	}
	for _, list := range [][]Endpoint{t.Forward, t.Prometheus, t.Metrics, t.Peers} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}

// Ports of the shipped configurations.
const (
	portGRPC, portHTTP, portQuery = 4317, 4318, 3200
	portMetrics, portRED          = 8888, 8889
	tracesPath                    = "/v1/traces"
	metricsPath                   = "/metrics"
)

// DefaultTargets are those of config/local.yaml, for when no configuration is named. data is the data directory.
func DefaultTargets(data string) Targets {
	local := func(name, path string, port int) Endpoint {
		return Endpoint{Name: name, From: "default", Host: "localhost", Port: port, Path: path, Protocol: protocolHTTP}
	}
	grpc, http, query := local("", "", portGRPC), local("", tracesPath, portHTTP), local("", "", portQuery)
	grpc.Protocol = protocolGRPC
	return Targets{
		GRPC: &grpc, HTTP: &http, Query: &query,
		Metrics:     []Endpoint{local("metrics/telemetry", metricsPath, portMetrics), local("metrics/prometheus", metricsPath, portRED)},
		Directories: []Directory{{Path: data, From: "default", MaxMiB: 10240, MinFree: 5}},
	}
}

// FromConfig takes the targets from a configuration's tree. Addresses that are none are errors, joined; the targets are
// then those that are.
func FromConfig(conf map[string]any, sources []string, pod kubecheck.Pod) (Targets, error) {
	t := Targets{Kubernetes: kubecheck.PlanOf(conf, sources, pod)}
	r := reader{conf: conf}
	for _, id := range conftree.Used(conf, "receivers") {
		if conftree.TypeOf(id) == "otlp" && (t.GRPC == nil && t.HTTP == nil || id == "otlp") {
			t.GRPC, t.HTTP = r.receiver(id)
		}
	}
	for _, id := range conftree.List(conftree.Branch(conf, "service")["extensions"]) {
		settings := conftree.Branch(conf, "extensions", id)
		switch conftree.TypeOf(id) {
		case "trace_query":
			if e, err := r.listener("extensions", id); err == nil {
				e.Prefix = conftree.Text(settings["http_api_prefix"])
				t.Query = &e
			}
			t.Peers = r.peers(id)
		case "trace_store":
			retention := conftree.Branch(settings, "retention")
			t.Directories = append(t.Directories, Directory{
				Path: conftree.Text(settings["directory"]), From: "extensions::" + id + "::directory",
				MaxMiB: number(retention["max_size_mib"]), MinFree: number(retention["min_free_percentage"]),
			})
		case "file_storage":
			t.Directories = append(t.Directories, Directory{Path: conftree.Text(settings["directory"]), From: "extensions::" + id + "::directory"})
		}
	}
	r.exporters(&t)
	r.telemetry(&t)
	return t, errors.Join(r.errs...)
}

// reader takes addresses out of a configuration.
type reader struct {
	conf map[string]any
	errs []error
}

// listener reads endpoint and tls at a path.
func (r *reader) listener(path ...string) (Endpoint, error) {
	from := strings.Join(path, "::")
	settings := conftree.Branch(r.conf, path...)
	text := conftree.Text(settings["endpoint"])
	if text == "" {
		return Endpoint{}, errNone
	}
	e, err := parseAddress(text, from)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	e.TLS = settings["tls"] != nil
	return e, err
}

func (r *reader) receiver(id string) (grpc, http *Endpoint) {
	if e, err := r.listener("receivers", id, "protocols", "grpc"); err == nil {
		e.Protocol = protocolGRPC
		grpc = &e
	}
	if e, err := r.listener("receivers", id, "protocols", "http"); err == nil {
		e.Path = tracesPath
		if p := conftree.Text(conftree.Branch(r.conf, "receivers", id, "protocols", "http")["traces_url_path"]); p != "" {
			e.Path = p
		}
		http = &e
	}
	return grpc, http
}

// peers lists the ports of static peers, and the name of those in DNS. Those of EndpointSlices are the agent's to know.
func (r *reader) peers(id string) (out []Endpoint) {
	peers := conftree.Branch(r.conf, "extensions", id, "peers")
	from := "extensions::" + id + "::peers"
	secure := conftree.Branch(peers, "client", "tls")["insecure"] != true
	add := func(address, from string) {
		e, err := parseAddress(address, from)
		if err != nil {
			r.errs = append(r.errs, err)
			return
		}
		e.Name, e.TLS, e.Protocol = "peers/"+address, secure, protocolGRPC
		out = append(out, e)
	}
	for i, a := range conftree.List(peers["static"]) {
		add(a, fmt.Sprintf("%s::static::%d", from, i))
	}
	if dns := conftree.Branch(peers, "dns"); dns != nil && conftree.Text(dns["hostname"]) != "" {
		add(net.JoinHostPort(conftree.Text(dns["hostname"]), strconv.FormatInt(number(dns["port"]), 10)), from+"::dns")
	}
	return out
}

// exporters reads where pipelines send to.
func (r *reader) exporters(t *Targets) {
	for _, id := range conftree.Used(r.conf, "exporters") {
		settings := conftree.Branch(r.conf, "exporters", id)
		from, text := "exporters::"+id, conftree.Text(settings["endpoint"])
		var e Endpoint
		var err error
		switch conftree.TypeOf(id) {
		case "otlp_grpc", "otlp":
			if e, err = grpcTarget(text, from); err == nil {
				e.TLS = e.TLS || conftree.Branch(settings, "tls")["insecure"] != true && !strings.HasPrefix(text, "http://")
				e.Name, e.Protocol = "forward/"+id, protocolGRPC
				t.Forward = append(t.Forward, e)
			}
		case "otlp_http", "otlphttp":
			if full := conftree.Text(settings["traces_endpoint"]); full != "" {
				e, err = parseURL(full, from, 0)
			} else if e, err = parseURL(text, from, 0); err == nil {
				e.Path += tracesPath
			}
			if err == nil {
				e.Name = "forward/" + id
				t.Forward = append(t.Forward, e)
			}
		case "prometheus_remote_write", "prometheusremotewrite":
			if e, err = parseURL(text, from, 0); err == nil {
				e.Name, e.Write = "prometheus/"+id, true
				t.Prometheus = append(t.Prometheus, e)
			}
		case "prometheus":
			if e, err = r.listener("exporters", id); err == nil {
				e.Name, e.Path = "metrics/"+id, metricsPath
				t.Metrics = append(t.Metrics, e)
			}
			err = nil // It is among the errors.
		}
		if err != nil {
			r.errs = append(r.errs, err)
		}
	}
}

// grpcTarget reads what the otlp_grpc exporter takes: host:port, or a URL.
func grpcTarget(text, from string) (Endpoint, error) {
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		return parseURL(text, from, portGRPC)
	}
	return parseAddress(strings.TrimPrefix(text, "dns:///"), from)
}

// telemetry reads where the agent's own metrics are.
func (r *reader) telemetry(t *Targets) {
	for i, reader := range conftree.Trees(conftree.Branch(r.conf, "service", "telemetry", "metrics")["readers"]) {
		p := conftree.Branch(reader, "pull", "exporter", "prometheus")
		if p == nil {
			continue
		}
		host := conftree.Text(p["host"])
		e, err := parseAddress(net.JoinHostPort(host, strconv.FormatInt(number(p["port"]), 10)), fmt.Sprintf("service::telemetry::metrics::readers::%d", i))
		if err != nil {
			r.errs = append(r.errs, err)
			continue
		}
		e.Name, e.Path = "metrics/telemetry", metricsPath
		t.Metrics = append([]Endpoint{e}, t.Metrics...)
	}
}

func number(v any) int64 {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		return 0
	}
	return int64(n)
}

// Overrides are flags; empty ones leave to the environment, and that to the configuration.
type Overrides struct {
	Endpoint, Query, Prometheus string
}

// Override puts flags and the environment of applications in the place of what the configuration says.
func (t *Targets) Override(o Overrides, getenv func(string) string) error {
	if getenv == nil {
		getenv = os.Getenv
	}
	return errors.Join(t.overrideOTLP(o.Endpoint, getenv), t.overrideQuery(o.Query, getenv), t.overridePrometheus(o.Prometheus, getenv))
}

// either is a flag or an environment variable, with the name of which it is.
func either(flag, name string, variables []string, getenv func(string) string) (value, from string) {
	if flag != "" {
		return flag, name
	}
	for _, v := range variables {
		if value := getenv(v); value != "" {
			return value, v
		}
	}
	return "", ""
}

// overrideOTLP makes two endpoints of one. With one of the usual ports both protocols are looked at, on both ports;
// otherwise the one port is for the protocol that OTEL_EXPORTER_OTLP_PROTOCOL says, http by default.
func (t *Targets) overrideOTLP(flag string, getenv func(string) string) error {
	const tracesVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	text, from := either(flag, "--endpoint", []string{tracesVariable, "OTEL_EXPORTER_OTLP_ENDPOINT"}, getenv)
	if text == "" {
		return nil
	}
	e, err := parseURL(text, from, 0)
	if err != nil {
		return err
	}
	protocol, _ := either("", "", []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"}, getenv)
	t.SDK = &SDK{Endpoint: e, Protocol: protocol}
	grpc, http := e, e
	grpc.Protocol, http.Protocol, grpc.Path = protocolGRPC, protocolHTTP, ""
	if from != tracesVariable {
		http.Path += tracesPath
	}
	if e.Port == portGRPC {
		http.Path = tracesPath
	}
	t.GRPC, t.HTTP = &grpc, &http
	switch {
	case e.Port == portGRPC || e.Port == portHTTP:
		grpc.Port, http.Port = portGRPC, portHTTP
	case protocol == protocolGRPC:
		t.HTTP = nil
	default:
		t.GRPC = nil
	}
	if !e.loopback() {
		t.Remote = from + " is " + e.URL("")
	}
	return nil
}

func (t *Targets) overrideQuery(flag string, getenv func(string) string) error {
	text, from := either(flag, "--query", []string{"TEMPO_URL"}, getenv)
	if text == "" {
		return nil
	}
	e, err := parseURL(text, from, 0)
	if err != nil {
		return err
	}
	e.Prefix, e.Path = e.Path, ""
	t.Query = &e
	if !e.loopback() {
		t.Remote = from + " is " + e.URL("")
	}
	return nil
}

func (t *Targets) overridePrometheus(flag string, getenv func(string) string) error {
	text, from := either(flag, "--prometheus", []string{"PROMETHEUS_URL"}, getenv)
	if text == "" {
		return nil
	}
	e, err := parseURL(text, from, 0)
	if err != nil {
		return err
	}
	e.Name, e.Path = "prometheus/url", e.Path+"/-/ready"
	t.Prometheus = append(t.Prometheus, e)
	return nil
}
