package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/featuregate"

	"github.com/bramble-tracing/bramble/components/configmapprovider"
	"github.com/bramble-tracing/bramble/components/watchprovider"
	"github.com/bramble-tracing/bramble/internal/configcheck"
	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

// exitError is an error with the exit code that it asks for. Its text has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode prints an error and turns it into the code of the process.
func exitCode(err error) int {
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	return 1
}

// configFlags are the flags that name a configuration, as the Collector has them.
type configFlags struct {
	configs []string
	sets    []string
}

func (f *configFlags) register(set *pflag.FlagSet) {
	set.StringArrayVar(&f.configs, "config", nil, "location of the configuration, as for running; may be given several times")
	set.StringArrayVar(&f.sets, "set", nil, "a setting that overrides the configuration's, such as --set=processors.batch.timeout=2s")
	gates := newGoFlags()
	featuregate.GlobalRegistry().RegisterFlags(gates)
	set.AddGoFlagSet(gates)
}

// parse reads the flags out of the arguments of a run.
func (f *configFlags) parse(args []string) error {
	set := pflag.NewFlagSet("bramble", pflag.ContinueOnError)
	set.ParseErrorsAllowlist.UnknownFlags = true
	set.StringArrayVar(&f.configs, "config", nil, "")
	set.StringArrayVar(&f.sets, "set", nil, "")
	return set.Parse(args)
}

// uris are the configuration's locations in the form of the Collector's resolver.
func (f *configFlags) uris() []string {
	uris := append([]string{}, f.configs...)
	for _, s := range f.sets {
		key, value, _ := strings.Cut(s, "=")
		uris = append(uris, "yaml:"+strings.TrimSpace(strings.ReplaceAll(key, ".", "::"))+": "+strings.TrimSpace(value))
	}
	return uris
}

func checkSettings(uris []string) configcheck.Settings {
	return configcheck.Settings{
		Factories: components, Build: buildInfo(), URIs: uris,
		Providers: func(read func(string, []byte)) []confmap.ProviderFactory {
			return providers(watchprovider.NewRecordingFactory(read), configmapprovider.NewRecordingFactory(read))
		},
	}
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check configurations and compare them"}
	cmd.AddCommand(checkCommand(), diffCommand())
	return cmd
}

func checkCommand() *cobra.Command {
	var flags configFlags
	var asJSON, light bool
	var pid int
	cmd := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Check a configuration further than validate does, without running it",
		Long: "Check reads, expands and validates a configuration, creates all of its components without starting them, loads its TLS files,\n" +
			"tries the addresses that it listens on and asks Bramble's components about their directories and files.\n" +
			"Several files are merged, as with several --config. The exit code is 0 if it is good and 1 if not.",
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			uris := slices.Concat(args, flags.uris())
			if len(uris) == 0 {
				return errors.New("name a configuration: bramble config check FILE")
			}
			s := checkSettings(uris)
			s.RunningPID, s.Light = pid, light
			v := configcheck.Run(cmd.Context(), s)
			return printVerdict(cmd.OutOrStdout(), v, strings.Join(uris, ", "), asJSON)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON, with the effective configuration")
	cmd.Flags().BoolVar(&light, "light", false, "only read and validate; do not create components")
	cmd.Flags().IntVar(&pid, "running-pid", 0, "a running Bramble whose ports are not in the way")
	return cmd
}

func printVerdict(w io.Writer, v liveconfig.Verdict, name string, asJSON bool) error {
	switch {
	case asJSON:
		if err := json.NewEncoder(w).Encode(v); err != nil {
			return fmt.Errorf("print the verdict: %w", err)
		}
	case v.OK:
		fmt.Fprintf(w, "%s: good\n", name)
		for _, warning := range v.Warnings {
			fmt.Fprintf(w, "warning: %s\n", warning)
		}
	default:
		fmt.Fprintf(w, "%s: bad\n%s\n", name, v.Reason)
	}
	if !v.OK {
		return exitError(1)
	}
	return nil
}

func diffCommand() *cobra.Command {
	var with, url string
	cmd := &cobra.Command{
		Use:   "diff FILE",
		Short: "Show how a configuration differs from another one or from a running Bramble's",
		Long: "Diff compares what two configurations come to after expansion and defaults, secrets hidden. The other one is a file (--with)\n" +
			"or what a running Bramble runs with (--url, its query port). The exit code is 0 if they are equal, 1 if not and 2 on errors.",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := compare(cmd.Context(), args[0], with, url)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
				return exitError(2)
			}
			for _, c := range changes {
				fmt.Fprintln(cmd.OutOrStdout(), c)
			}
			if len(changes) > 0 {
				return exitError(1)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "no difference")
			return nil
		},
	}
	cmd.Flags().StringVar(&with, "with", "", "the file to compare with")
	cmd.Flags().StringVar(&url, "url", "http://localhost:3200", "the query port of a running Bramble to compare with")
	cmd.MarkFlagsMutuallyExclusive("with", "url")
	return cmd
}

// compare lists what changes from the other configuration to the file's.
func compare(ctx context.Context, file, with, url string) ([]liveconfig.Change, error) {
	after, err := effectiveOf(ctx, file)
	if err != nil {
		return nil, err
	}
	var before map[string]any
	if with != "" {
		before, err = effectiveOf(ctx, with)
	} else {
		before, err = runningConfig(ctx, strings.TrimSuffix(url, "/")+"/status/config?format=json")
	}
	if err != nil {
		return nil, err
	}
	return liveconfig.Diff(before, after), nil
}

func effectiveOf(ctx context.Context, file string) (map[string]any, error) {
	s := checkSettings([]string{file})
	s.Light = true
	v := configcheck.Run(ctx, s)
	if !v.OK {
		return nil, fmt.Errorf("%s: %s", file, v.Reason)
	}
	// Through JSON, as the running one's comes, so that both have the same types.
	b, err := json.Marshal(v.Effective)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var m map[string]any
	if err := liveconfig.DecodeJSON(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

func runningConfig(ctx context.Context, url string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the running Bramble: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the running Bramble: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Effective map[string]any `json:"effective"`
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the running Bramble: %s answered %s", url, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = liveconfig.DecodeJSON(b, &body)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running Bramble: %s: %w", url, err)
	}
	return body.Effective, nil
}

func newGoFlags() *flag.FlagSet { return flag.NewFlagSet("bramble", flag.ContinueOnError) }
