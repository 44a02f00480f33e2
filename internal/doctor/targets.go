package doctor

import (
	"errors"

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
