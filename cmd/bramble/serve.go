package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/otelcol"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/internal/configcheck"
	"github.com/bramble-tracing/bramble/internal/kubenotice"
	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// errFatal is what a run ends with that a component's fatal error has ended; the Collector has logged it.
var errFatal = errors.New("a component reported a fatal error: see the log above")

// serve runs the command line. If it is the Collector that runs, it is run again with the last good configuration when
// a new one has ended it.
func serve(ctx context.Context, args []string) (err error) {
	var g *liveconfig.Guard
	release := func() error { return nil }
	defer func() { err = errors.Join(err, release()) }()
	for {
		root := command() //nolint:contextcheck // Commands are given ctx when they run.
		root.SetArgs(args)
		root.SilenceErrors = true // exitCode prints the last one.
		ran := false
		root.RunE = func(*cobra.Command, []string) error {
			ran = true
			flags := &configFlags{}
			if err := flags.parse(args); err != nil {
				return err
			}
			if len(flags.uris()) == 0 {
				return errors.New("name a configuration: bramble --config FILE")
			}
			if g == nil {
				made, free, err := guard(args, flags) //nolint:contextcheck // It ends with the process.
				if err != nil {
					return err
				}
				g, release = made, free
			}
			g.Begin()
			return collect(ctx, flags.uris())
		}
		err := root.ExecuteContext(ctx)
		if !ran || g == nil || ctx.Err() != nil {
			return err
		}
		ended := err
		if errors.Is(err, errFatal) {
			ended = nil
		}
		if !g.End(ctx, ended) {
			return err
		}
	}
}

// collect runs the Collector until it ends or ctx does. Its own context is another one: a signal in the middle of a reload
// must not cut short what is being stopped.
func collect(ctx context.Context, uris []string) error {
	set := settings()
	resolver := &set.ConfigProviderSettings.ResolverSettings
	resolver.URIs, resolver.DefaultScheme = uris, "env"
	col, err := otelcol.NewCollector(set)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, col.Shutdown)
	defer unhook()
	if err := col.Run(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errFatal
	}
	return nil
}

// guard makes the guard of this process, for the rest of its life. Its checks run in children with the same arguments.
func guard(args []string, flags *configFlags) (g *liveconfig.Guard, release func() error, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find the running program: %w", err)
	}
	tell, untell := podNotices(func() *zap.Logger { return g.Logger() })
	g = liveconfig.New(liveconfig.Options{
		OnRecord:    tell,
		Checker:     &liveconfig.Child{Program: program, Args: slices.Clone(args), Light: lightChecker{flags}},
		Directories: keptDirectories(),
		Probation:   probation(),
	})
	unregister, err := liveconfig.Register(&procstate.Default, g)
	if err != nil {
		g.Close()
		untell()
		return nil, nil, err
	}
	return g, func() error { untell(); return unregister() }, nil
}

// podNotices returns what tells Kubernetes of verdicts, where POD_NAMESPACE and POD_NAME say which pod this is (by the
// downward API; POD_UID and NODE_NAME make its events better found). Elsewhere it does nothing.
func podNotices(log func() *zap.Logger) (tell func(liveconfig.Record), untell func()) {
	nothing := func(liveconfig.Record) {}
	pod := kubenotice.Pod{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME"), UID: os.Getenv("POD_UID"), Node: os.Getenv("NODE_NAME")}
	conf, err := rest.InClusterConfig()
	if err != nil || pod.Namespace == "" || pod.Name == "" {
		return nothing, func() {}
	}
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nothing, func() {}
	}
	n := kubenotice.New(client, pod, log)
	return n.Record, n.Close
}

// keptDirectories are where the store keeps its data by default, when the configuration cannot be asked.
func keptDirectories() []string {
	dirs := []string{"data"}
	if d := os.Getenv("BRAMBLE_DATA"); d != "" {
		dirs = append(dirs, d)
	}
	return dirs
}

// probation is how long a new configuration may be rolled back; tests shorten it.
func probation() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("BRAMBLE_CONFIG_PROBATION")); err == nil && d > 0 {
		return d
	}
	return liveconfig.DefaultProbation
}

// lightChecker judges in this process, when there is no memory for a child: everything up to the components' own
// validation.
type lightChecker struct{ flags *configFlags }

func (c lightChecker) Check(ctx context.Context) (liveconfig.Verdict, error) {
	s := checkSettings(c.flags.uris())
	s.Light = true
	return configcheck.Run(ctx, s), nil
}
