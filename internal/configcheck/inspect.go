package configcheck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/service/pipelines"
)

// part is one component's settings with their path.
type part struct {
	path string
	cfg  component.Config
	// listens says that addresses of servers in the settings are listened on by this component.
	listens bool
}

// inspect checks what the settings of used components name: TLS files, addresses, and what Checkers know.
func (s *Settings) inspect(ctx context.Context, cfg *otelcol.Config) error {
	var errs []error
	var addrs []address
	for _, p := range used(cfg) {
		found := &finder{ctx: ctx, listens: p.listens}
		found.walk(p.path, p.cfg)
		errs = append(errs, found.errs...)
		addrs = append(addrs, found.addrs...)
		if c, ok := p.cfg.(Checker); ok {
			if err := c.Check(ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p.path, err))
			}
		}
	}
	addrs = append(addrs, telemetryAddresses(cfg)...)
	return errors.Join(append(errs, bind(ctx, addrs, s.RunningPID)...)...)
}

// used lists the components that the service will run, in a stable order.
func used(cfg *otelcol.Config) []part {
	var out []part
	for _, id := range cfg.Service.Extensions {
		out = append(out, part{path: "extensions::" + id.String(), cfg: cfg.Extensions[id], listens: true})
	}
	seen := map[string]bool{}
	add := func(kind string, id component.ID, from map[component.ID]component.Config, listens bool) {
		path := kind + "::" + id.String()
		if c, ok := from[id]; ok && !seen[path] {
			seen[path] = true
			out = append(out, part{path: path, cfg: c, listens: listens})
		}
	}
	for _, id := range pipelineIDs(cfg.Service.Pipelines) {
		p := cfg.Service.Pipelines[id]
		for _, r := range p.Receivers {
			add("receivers", r, cfg.Receivers, true)
			add("connectors", r, cfg.Connectors, false)
		}
		for _, r := range p.Processors {
			add("processors", r, cfg.Processors, false)
		}
		for _, r := range p.Exporters {
			add("exporters", r, cfg.Exporters, true)
			add("connectors", r, cfg.Connectors, false)
		}
	}
	return out
}

func pipelineIDs(m pipelines.Config) []pipeline.ID {
	return slices.SortedFunc(maps.Keys(m), func(a, b pipeline.ID) int {
		switch as, bs := a.String(), b.String(); {
		case as < bs:
			return -1
		case as > bs:
			return 1
		}
		return 0
	})
}
