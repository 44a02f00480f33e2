package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/webmount"
	"github.com/bramble-tracing/bramble/processors/tailsamplingprocessor/internal/metadata"
)

// decidingStore is what the processor needs of the store.
type decidingStore interface {
	store.Viewer
	store.Retainer
}

// storeProcessor passes spans on and decides for the store what is kept.
type storeProcessor struct {
	config *Config
	log    *zap.Logger
	tel    *metadata.TelemetryBuilder
	next   consumer.Traces

	policies atomic.Pointer[sampling.Policies]
	store    decidingStore
	file     policiesFile

	release []func() // in reverse order
	stop    chan struct{}
	done    sync.WaitGroup
}

var (
	_ processor.Traces = (*storeProcessor)(nil)
	_ store.Decider    = (*storeProcessor)(nil)
)

func newStoreProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*storeProcessor, error) {
	tel, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	return &storeProcessor{config: cfg, log: set.Logger, tel: tel, next: next, file: policiesFile{path: cfg.PoliciesFile}}, nil
}

// Capabilities says that spans are not changed, so that they need not be copied.
func (*storeProcessor) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// ConsumeTraces passes spans on within the request, so that the store's answer is the client's.
func (p *storeProcessor) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	return p.next.ConsumeTraces(ctx, td) //nolint:wrapcheck // the next one's answer
}

// Start compiles the policies and registers them with the store. When that is not possible the Collector does not start:
// the store would keep everything, or what another instance decides.
func (p *storeProcessor) Start(ctx context.Context, host component.Host) error {
	if err := p.start(ctx, host); err != nil {
		return errors.Join(err, p.Shutdown(ctx))
	}
	return nil
}

func (p *storeProcessor) start(ctx context.Context, host component.Host) error {
	if err := p.load(ctx); err != nil {
		return err
	}
	if ignored := p.config.Ignored(); len(ignored) > 0 {
		p.log.Info("Settings without effect: with store no spans are held, decisions are made when traces leave the store's recent window",
			zap.Strings("settings", ignored))
	}
	found, err := exthost.Find[decidingStore](host, *p.config.Store)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	p.store = found
	cancel, err := found.SetDecider(p)
	if err != nil {
		return fmt.Errorf("store: register the policies with %s: %w (one tail_sampling processor per store: merge the policies into one, or use the same processor id in all pipelines)", p.config.Store, err)
	}
	p.release = append(p.release, cancel)
	if err := p.tel.RegisterProcessorTailSamplingStoreOldestUndecidedCallback(p.observeOldest); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	p.mount(host)
	if p.config.PoliciesFile != "" {
		p.stop = make(chan struct{})
		p.done.Go(p.watch)
	}
	return nil
}

// Shutdown waits for a running decision.
func (p *storeProcessor) Shutdown(context.Context) error {
	if p.stop != nil {
		close(p.stop)
		p.done.Wait()
		p.stop = nil
	}
	for len(p.release) > 0 {
		last := len(p.release) - 1
		p.release[last]()
		p.release = p.release[:last]
	}
	p.tel.Shutdown()
	return nil
}

// mount serves the preview, if there is somebody to serve it.
func (p *storeProcessor) mount(host component.Host) {
	mounter, err := exthost.Find[webmount.Mounter](host, p.config.Query)
	if err == nil {
		var unmount func()
		unmount, err = mounter.Mount(webmount.Mount{
			Prefix:      previewPath,
			Handler:     &previewHandler{processor: p},
			Description: "What sampling policies would keep of the recent window: GET with ?policies=, or POST, a document in YAML or JSON.",
		})
		if err == nil {
			p.release = append(p.release, unmount)
			return
		}
	}
	p.log.Info("The preview of sampling policies is not served", zap.Error(err))
}

// Decide implements store.Decider.
func (p *storeProcessor) Decide(ctx context.Context, u *store.Undecided) ([]store.Decision, error) {
	begin := time.Now()
	results, err := p.policies.Load().Evaluate(ctx, u)
	if err != nil {
		if ctx.Err() == nil {
			p.tel.ProcessorTailSamplingStoreFailures.Add(ctx, 1)
			p.log.Error("Sampling policies cannot decide about traces that leave the recent window; they stay and are tried again",
				zap.Int("traces", len(u.Traces)), zap.Error(err))
		}
		return nil, err //nolint:wrapcheck // the store says what it was doing
	}
	p.tel.ProcessorTailSamplingStoreDecisionTime.Record(ctx, time.Since(begin).Seconds())
	p.count(ctx, results)
	out := make([]store.Decision, len(results))
	for i := range results {
		out[i] = results[i].Decision
	}
	return out, nil
}
