// Program bramble is distributed tracing in one binary: an OpenTelemetry Collector with a trace store inside.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpsprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/otelcol"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "0.0.0-dev"

const (
	// reloadGrace is how long the store stays open between the components of two configurations. A reload takes
	// milliseconds; a failed one that is rolled back, seconds.
	reloadGrace = 30 * time.Second
	// memoryRatio is the share of the container's memory limit at which Go's collector starts to work harder. The
	// rest is for what Go does not account for.
	memoryRatio = 0.9
)

func main() {
	os.Exit(run())
}

func run() int {
	limitMemory()
	procstate.Default.SetGrace(reloadGrace)
	err := otelcol.NewCommand(settings()).Execute()
	if cerr := procstate.Default.CloseAll(); cerr != nil {
		fmt.Fprintln(os.Stderr, "bramble: close:", cerr)
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

// limitMemory sets Go's memory limit from the cgroup's. Without a cgroup limit, or with GOMEMLIMIT set, it changes
// nothing.
func limitMemory() {
	if _, err := memlimit.Set(
		memlimit.WithRatio(memoryRatio),
		memlimit.WithProvider(memlimit.FromCgroup),
		memlimit.WithLogger(slog.New(slog.DiscardHandler)),
	); err != nil {
		// Not being in a cgroup with a limit is the ordinary case on a laptop, and no reason to stop anywhere.
		return
	}
}

func settings() otelcol.CollectorSettings {
	return otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "bramble",
			Description: "Distributed tracing in one binary",
			Version:     version,
		},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{
					envprovider.NewFactory(),
					fileprovider.NewFactory(),
					httpprovider.NewFactory(),
					httpsprovider.NewFactory(),
					yamlprovider.NewFactory(),
				},
			},
		},
	}
}
