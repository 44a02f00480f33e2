package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bramble-tracing/bramble/internal/configcheck"
	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
)

// errFatal is what a run ends with that a component's fatal error has ended; the Collector has logged it.
var errFatal = errors.New("a component reported a fatal error: see the log above")

// serve runs the command line. If it is the Collector that runs, it is run again with the last good configuration when
// a new one has ended it.
func serve(ctx context.Context, args []string) error {
	for first := true; ; first = false {
		root := command() //nolint:contextcheck // Commands are given ctx when they run.
		root.SetArgs(args)
		// What the Collector says about its own failure is logged; the last error is printed by exitCode.
		root.SilenceErrors = true
		collector := root.RunE
		ran := false
		root.RunE = func(cmd *cobra.Command, rest []string) error {
			ran = true
			if first {
				stop, err := guard(args) //nolint:contextcheck // The guard outlives the command; stop ends it.
				if err != nil {
					return err
				}
				context.AfterFunc(ctx, stop)
			}
			liveconfig.Of(&procstate.Default).Begin()
			err := collector(cmd, rest)
			if err == nil && ctx.Err() == nil {
				return errFatal
			}
			return err
		}
		err := root.ExecuteContext(ctx)
		if !ran || ctx.Err() != nil {
			return err
		}
		ended := err
		if errors.Is(err, errFatal) {
			ended = nil
		}
		if !liveconfig.Of(&procstate.Default).End(ctx, ended) {
			return err
		}
	}
}

// guard makes the guard of this process. Its checks run in children with the same arguments.
func guard(args []string) (stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the running program: %w", err)
	}
	flags := &configFlags{}
	if err := flags.parse(args); err != nil {
		return nil, err
	}
	g := liveconfig.New(liveconfig.Options{
		Checker:     &liveconfig.Child{Program: program, Args: slices.Clone(args), Light: lightChecker{flags}},
		Directories: keptDirectories(),
		Probation:   probation(),
	})
	release, err := liveconfig.Register(&procstate.Default, g)
	if err != nil {
		g.Close()
		return nil, err
	}
	return func() {
		g.Close()
		_ = release() // Nothing to close.
	}, nil
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
