// Program bramble is distributed tracing in one binary: an OpenTelemetry Collector with a trace store inside.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpprovider"
	"go.opentelemetry.io/collector/confmap/provider/httpsprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/otelcol"

	"github.com/bramble-tracing/bramble/components/configmapprovider"
	"github.com/bramble-tracing/bramble/components/watchprovider"
	"github.com/bramble-tracing/bramble/internal/gcpace"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "0.0.0-dev"

const (
	// reloadGrace is how long the store stays open between the components of two configurations. A reload takes
	// milliseconds; a failed one that is rolled back, seconds.
	reloadGrace = 30 * time.Second
	// memoryRatio is the share of the container's memory limit at which Go's collector starts to work harder. The
	// rest is for what Go does not account for, and for values of megabytes that arrive while it collects.
	memoryRatio = 0.8
	// garbageRoom is how much garbage may pile up. Receiving spans makes about 1.2 kB of it each, so that at 10,000 a
	// second five seconds fit.
	garbageRoom = 64 << 20
)

func main() {
	os.Exit(run())
}

func run() int {
	limitMemory()
	defer gcpace.Start(garbageRoom)()
	procstate.Default.SetGrace(reloadGrace)
	// The signals are ours from the first moment: the Collector takes them only when its components have started, and
	// until then they would end the process without shutting down.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // Before the Collector takes it, it means nothing.
	err := serve(ctx, os.Args[1:])
	if cerr := procstate.Default.CloseAll(); cerr != nil {
		fmt.Fprintln(os.Stderr, "bramble: close:", cerr)
		if err == nil {
			err = cerr
		}
	}
	return exitCode(err)
}

// command is the Collector's command line with our own commands.
func command() *cobra.Command {
	root := otelcol.NewCommand(settings())
	root.AddCommand(configCommand(), samplingCommand(), directoryCommand(), doctorCommand())
	return root
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

func buildInfo() component.BuildInfo {
	return component.BuildInfo{Command: "bramble", Description: "Distributed tracing in one binary", Version: version}
}

func settings() otelcol.CollectorSettings {
	return otelcol.CollectorSettings{
		BuildInfo: buildInfo(),
		Factories: components,
		// serve handles the signals.
		DisableGracefulShutdown: true,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{ProviderFactories: providers(watchprovider.NewFactory(), configmapprovider.NewFactory())},
		},
	}
}

// providers are what reads configurations: our own, and the Collector's for other schemes.
func providers(own ...confmap.ProviderFactory) []confmap.ProviderFactory {
	return append(own,
		envprovider.NewFactory(),
		httpprovider.NewFactory(),
		httpsprovider.NewFactory(),
		yamlprovider.NewFactory(),
	)
}
