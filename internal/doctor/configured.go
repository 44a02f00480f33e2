package doctor

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/bramble-tracing/bramble/internal/conftree"
)

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
