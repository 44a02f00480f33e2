package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/confmap"

	"github.com/bramble-tracing/bramble/components/watchprovider"
	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/processors/tailsamplingprocessor"
)

const previewPath = "/api/bramble/sampling/preview"

// samplingCommand is `bramble sampling`.
func samplingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sampling", Short: "Work with tail sampling policies"}
	cmd.AddCommand(previewCommand())
	return cmd
}

// previewFlags are the flags of `bramble sampling preview`.
type previewFlags struct {
	configs   []string
	policies  string
	processor string
	url       string
	json      bool
}

func previewCommand() *cobra.Command {
	var flags previewFlags
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show what sampling policies would keep of a running Bramble's recent window",
		Long: "Preview takes the policies of the tail_sampling processor in a configuration (--config), of a document (--policies), or those in\n" +
			"use, and asks a running Bramble what they would keep of the traces in its recent window. Nothing is changed.",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return preview(cmd.Context(), cmd.OutOrStdout(), &flags)
		},
	}
	cmd.Flags().StringArrayVar(&flags.configs, "config", nil, "location of a configuration, as for running; may be given several times")
	cmd.Flags().StringVar(&flags.policies, "policies", "", "a file with policies alone, as for policies_file")
	cmd.Flags().StringVar(&flags.processor, "processor", "", "the id of the tail_sampling processor, if the configuration has several with store")
	cmd.Flags().StringVar(&flags.url, "url", "http://localhost:3200", "the query port of the running Bramble")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print the answer as it comes")
	cmd.MarkFlagsMutuallyExclusive("config", "policies")
	return cmd
}

func preview(ctx context.Context, out io.Writer, flags *previewFlags) error {
	document, err := flags.document(ctx)
	if err != nil {
		return err
	}
	answer, err := askPreview(ctx, strings.TrimSuffix(flags.url, "/")+previewPath, document)
	if err != nil {
		return err
	}
	if flags.json {
		_, err := out.Write(answer)
		return err
	}
	var report sampling.Report
	if err := json.Unmarshal(answer, &report); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return printReport(out, &report)
}

// document returns the policies to ask about, nothing for those in use.
func (f *previewFlags) document(ctx context.Context) ([]byte, error) {
	switch {
	case f.policies != "":
		b, err := os.ReadFile(f.policies)
		if err != nil {
			return nil, fmt.Errorf("read policies: %w", err)
		}
		return b, nil
	case len(f.configs) > 0:
		return policiesOfConfig(ctx, f.configs, f.processor)
	}
	return nil, nil
}

// policiesOfConfig returns the policies of the tail_sampling processor with store in a configuration.
func policiesOfConfig(ctx context.Context, uris []string, id string) ([]byte, error) {
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{URIs: uris, ProviderFactories: providers(watchprovider.NewRecordingFactory(func(string, []byte) {}))})
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	conf, err := resolver.Resolve(ctx)
	if err = errors.Join(err, resolver.Shutdown(ctx)); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	processors, _ := conf.Get("processors").(map[string]any)
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(processors)) {
		if typ, _, _ := strings.Cut(name, "/"); typ == "tail_sampling" && conf.IsSet("processors::"+name+"::store") {
			ids = append(ids, name)
		}
	}
	switch {
	case id == "" && len(ids) == 1:
		id = ids[0]
	case len(ids) == 0:
		return nil, errors.New("the configuration has no tail_sampling processor with store")
	case !slices.Contains(ids, id):
		return nil, fmt.Errorf("choose one of the processors with --processor: %s", strings.Join(ids, ", "))
	}
	sub, err := conf.Sub("processors::" + id)
	if err != nil {
		return nil, fmt.Errorf("processors::%s: %w", id, err)
	}
	cfg := tailsamplingprocessor.NewFactory().CreateDefaultConfig().(*tailsamplingprocessor.Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, fmt.Errorf("processors::%s: %w", id, err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("processors::%s: %w", id, err)
	}
	if cfg.PoliciesFile != "" {
		b, err := os.ReadFile(cfg.PoliciesFile)
		if err != nil {
			return nil, fmt.Errorf("processors::%s::policies_file: %w", id, err)
		}
		return b, nil
	}
	tree := map[string]any{"policies": sub.Get("policies")}
	if v := sub.Get("sample_on_first_match"); v != nil {
		tree["sample_on_first_match"] = v
	}
	document, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("processors::%s: %w", id, err)
	}
	return document, nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

func askPreview(ctx context.Context, url string, document []byte) ([]byte, error) {
	method := http.MethodGet
	if document != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the running Bramble (--url): %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: not found: no tail_sampling processor with store runs there", url)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func printReport(out io.Writer, r *sampling.Report) error {
	const mib = 1 << 20
	fmt.Fprintf(out, "Of %d traces between %s and %s, %d would be kept: %.1f %%, %.1f MiB a day.\n\n",
		r.Total.Traces, r.Start.Format("2006-01-02 15:04:05"), r.End.Format("15:04:05"), r.Kept.Traces, 100*r.Share, float64(r.Kept.BytesPerDay)/mib)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "POLICY\tDECISION\tTRACES\tSPANS\tMiB A DAY")
	for _, p := range r.Policies {
		name, decision := p.Policy, "dropped"
		if name == "" {
			name = "(none)"
		}
		if p.Keep {
			decision = "kept"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.1f\n", name, decision, p.Traces, p.Spans, float64(p.BytesPerDay)/mib)
	}
	fmt.Fprintln(w, "\t\t\t\t\nSERVICE\tTRACES\tKEPT\tSHARE\tMiB A DAY KEPT")
	for _, s := range r.Services {
		name := s.Service
		if name == "" {
			name = "(none)"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1f %%\t%.1f\n", name, s.Total.Traces, s.Kept.Traces, 100*s.Share, float64(s.Kept.BytesPerDay)/mib)
	}
	return w.Flush()
}
