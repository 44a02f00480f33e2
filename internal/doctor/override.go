package doctor

import (
	"errors"
	"os"
)

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
