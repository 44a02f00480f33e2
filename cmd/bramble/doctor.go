package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bramble-tracing/bramble/internal/configcheck"
	"github.com/bramble-tracing/bramble/internal/doctor"
	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// imageConfig is where the image has its configuration.
const imageConfig = "/etc/bramble/bramble.yaml"

// doctorFlags are the flags of `bramble doctor`.
type doctorFlags struct {
	config    configFlags
	overrides doctor.Overrides
	options   doctor.Options
	headers   []string
	output    string
}

func doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at an installation from outside and say what does not work and what to do",
		Long: "Doctor checks names, ports of both OTLP protocols (and says when they are swapped), the query port, exporters, Prometheus, other\n" +
			"agents, data directories, rights in Kubernetes and clocks, and sends a trace and reads it back. It takes its targets from the\n" +
			"configuration (--config; else " + imageConfig + " if there is one, else what config/local.yaml has), from the environment of\n" +
			"applications (OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL, _HEADERS, _CERTIFICATE; TEMPO_URL; PROMETHEUS_URL) and from flags.\n" +
			"The exit code is 0 if nothing fails, 1 if something does and 2 if the command line is wrong.",
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(cmd, fmt.Errorf("doctor takes flags only, not %q", args))
			}
			return runDoctor(cmd, &f)
		},
	}
	cmd.SetFlagErrorFunc(usageError)
	f.config.register(cmd.Flags())
	s := cmd.Flags()
	s.StringVar(&f.overrides.Endpoint, "endpoint", "", "where applications send spans, as in OTEL_EXPORTER_OTLP_ENDPOINT")
	s.StringVar(&f.overrides.Query, "query", "", "the query API, as in TEMPO_URL")
	s.StringVar(&f.overrides.Prometheus, "prometheus", "", "Prometheus, as in PROMETHEUS_URL")
	s.StringArrayVar(&f.headers, "header", nil, "a header of requests with spans and queries, NAME=VALUE; may be given several times")
	s.StringVar(&f.options.TLS.CAFile, "ca-file", os.Getenv("OTEL_EXPORTER_OTLP_CERTIFICATE"), "certificate of the authority to trust, in PEM form")
	s.StringVar(&f.options.TLS.CertFile, "cert-file", os.Getenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), "certificate of the client")
	s.StringVar(&f.options.TLS.KeyFile, "key-file", os.Getenv("OTEL_EXPORTER_OTLP_CLIENT_KEY"), "key of the client's certificate")
	s.BoolVar(&f.options.TLS.Insecure, "insecure-skip-verify", false, "do not verify certificates")
	s.StringVar(&f.options.DNSServer, "dns-server", "", "host:port of the server that names are asked of instead of the system's")
	s.DurationVar(&f.options.Timeout, "timeout", 5*time.Second, "how long one check may take")
	s.DurationVar(&f.options.Wait, "wait", 10*time.Second, "how long the test trace may take until it can be read")
	s.StringSliceVar(&f.options.Skip, "skip", nil, "checks to leave out, by name or by the first parts of names: --skip=directory,clock")
	s.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

// usageError prints what is wrong with the command line.
func usageError(cmd *cobra.Command, err error) error {
	fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
	return exitError(doctor.ExitUsage)
}

func (f *doctorFlags) validate() error {
	var errs []error
	if f.output != "text" && f.output != "json" {
		errs = append(errs, fmt.Errorf("--output: must be text or json, is %q", f.output))
	}
	if f.options.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout: must be above 0, is %s", f.options.Timeout))
	}
	if f.options.Wait <= 0 {
		errs = append(errs, fmt.Errorf("--wait: must be above 0, is %s", f.options.Wait))
	}
	f.options.Headers = map[string]string{}
	add := func(pair, from string) {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			errs = append(errs, fmt.Errorf("%s: must be NAME=VALUE", from)) // Not the text: it may be a secret.
			return
		}
		f.options.Headers[name] = value
	}
	for pair := range strings.SplitSeq(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS"), ",") {
		if pair == "" {
			continue
		}
		if plain, err := url.PathUnescape(pair); err == nil { // As SDKs read it.
			pair = plain
		}
		add(pair, "OTEL_EXPORTER_OTLP_HEADERS")
	}
	for _, pair := range f.headers {
		add(pair, "--header")
	}
	return errors.Join(errs...)
}

func runDoctor(cmd *cobra.Command, f *doctorFlags) error {
	if err := f.validate(); err != nil {
		return usageError(cmd, err)
	}
	targets, checks := f.targets(cmd.Context())
	f.options.Targets = targets
	found, err := doctor.Run(cmd.Context(), f.options)
	if err != nil {
		return usageError(cmd, err)
	}
	report := doctor.NewReport(append(checks, found...))
	if err := report.Write(cmd.OutOrStdout(), f.output == "json"); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if !report.OK {
		return exitError(doctor.ExitFailed)
	}
	return nil
}

// targets finds out what to look at; what is wrong with that are checks, too.
func (f *doctorFlags) targets(ctx context.Context) (doctor.Targets, []selfcheck.Check) {
	uris := f.config.uris()
	if len(f.config.configs) == 0 {
		if _, err := os.Stat(imageConfig); err == nil {
			uris = slices.Concat([]string{imageConfig}, uris)
		}
	}
	data := os.Getenv("BRAMBLE_DATA")
	if data == "" {
		data = "./data"
	}
	targets := doctor.DefaultTargets(data)
	check := selfcheck.Check{Name: "configuration", State: selfcheck.Skipped, Detail: "none is named (--config): the targets are those of config/local.yaml"}
	if len(uris) > 0 {
		s := checkSettings(uris)
		s.Light = true
		v := configcheck.Run(ctx, s)
		check = selfcheck.Check{Name: "configuration", State: selfcheck.OK, Detail: strings.Join(uris, ", ") + ": good"}
		if v.OK {
			var err error
			if targets, err = doctor.FromConfig(v.Effective, uris, kubecheck.Pod{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME")}); err != nil {
				check.State, check.Detail = selfcheck.Fail, err.Error()
				check.Fix = "mend the addresses"
			}
		} else {
			check.State, check.Detail = selfcheck.Fail, v.Reason
			check.Fix = "mend it; the other checks take their targets from config/local.yaml meanwhile"
		}
	}
	checks := []selfcheck.Check{check}
	if err := targets.Override(f.overrides, os.Getenv); err != nil {
		checks = append(checks, selfcheck.Check{Name: "environment", State: selfcheck.Fail, Detail: err.Error(), Fix: "correct the flag or the variable; what it says is not used"})
	}
	return targets, checks
}
