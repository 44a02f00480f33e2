package kubernetescheckextension

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/components/kubernetescheckextension/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

var _ extensioncapabilities.ConfigSnapshotWatcher = (*checkExtension)(nil)

// checkExtension checks from NotifyConfigSnapshot to Shutdown.
type checkExtension struct {
	cfg     *Config
	set     extension.Settings
	checker kubecheck.Checker

	source    *selfcheck.Source
	telemetry *metadata.TelemetryBuilder
	last      atomic.Pointer[[]selfcheck.Check]
	cancel    context.CancelFunc
	work      sync.WaitGroup
}

func newExtension(set extension.Settings, cfg *Config) *checkExtension {
	return &checkExtension{cfg: cfg, set: set, checker: kubecheck.Checker{Timeout: cfg.Timeout}}
}

// Start joins the board; checking begins when the configuration is told.
func (e *checkExtension) Start(context.Context, component.Host) (err error) {
	if e.source, err = selfcheck.Join(e.set.ID.String()); err != nil {
		return fmt.Errorf("find the board of checks: %w", err)
	}
	if e.telemetry, err = metadata.NewTelemetryBuilder(e.set.TelemetrySettings); err != nil {
		return err
	}
	return e.telemetry.RegisterKubernetesCheckFailedCallback(e.observe)
}

// Shutdown ends checking, a request in progress included.
func (e *checkExtension) Shutdown(context.Context) error {
	if e.cancel != nil {
		e.cancel()
		e.work.Wait()
	}
	if e.telemetry != nil {
		e.telemetry.Shutdown()
	}
	return e.source.Leave()
}

// NotifyConfigSnapshot begins to check what the configuration needs.
func (e *checkExtension) NotifyConfigSnapshot(_ context.Context, s extensioncapabilities.ConfigSnapshot) error { //nolint:contextcheck // Checking outlives the call, until Shutdown.
	if e.cancel != nil || e.source == nil || s.Effective() == nil {
		return nil
	}
	var sources []string
	if g := liveconfig.Of(&procstate.Default); g != nil {
		sources = g.Status().Sources
	}
	plan := kubecheck.PlanOf(s.Effective().ToStringMap(), sources, kubecheck.Pod{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME")})
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.work.Go(func() { e.loop(ctx, plan) })
	return nil
}

// loop checks until ctx ends.
func (e *checkExtension) loop(ctx context.Context, plan kubecheck.Plan) {
	retry := e.cfg.RetryInterval
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		checks := e.checker.Run(ctx, plan)
		if ctx.Err() != nil {
			return // What was cut short says nothing.
		}
		e.tell(checks)
		if checks[0].State == selfcheck.Skipped {
			return // Neither a cluster nor a need for one comes while the process runs.
		}
		wait := e.cfg.Interval
		if selfcheck.Worst(checks) == selfcheck.OK {
			retry = e.cfg.RetryInterval
		} else {
			wait = min(retry, e.cfg.Interval)
			retry = min(2*retry, e.cfg.Interval)
		}
		timer.Reset(jitter(wait))
	}
}

// jitter is d, a fifth more or less.
func jitter(d time.Duration) time.Duration {
	const share = 0.2
	return time.Duration(float64(d) * (1 - share + 2*share*rand.Float64()))
}

// tell publishes the checks and logs what is new about them. The board is last: who sees it there finds it in the log, too.
func (e *checkExtension) tell(checks []selfcheck.Check) {
	defer e.source.Report(checks...)
	before := map[string]selfcheck.State{}
	last := e.last.Swap(&checks)
	if last != nil {
		for _, c := range *last {
			before[c.Name] = c.State
		}
	}
	news := 0
	for _, c := range checks {
		was, known := before[c.Name]
		bad := c.State == selfcheck.Fail || c.State == selfcheck.Warn
		switch {
		case bad && was != c.State:
			e.set.Logger.Warn("A check of Kubernetes "+map[selfcheck.State]string{selfcheck.Fail: "fails", selfcheck.Warn: "warns"}[c.State],
				zap.String("check", c.Name), zap.String("found", c.Detail), zap.String("to_do", c.Fix))
			news++
		case known && c.State == selfcheck.OK && was != selfcheck.OK:
			e.set.Logger.Info("A check of Kubernetes passes now", zap.String("check", c.Name), zap.String("found", c.Detail))
			news++
		}
	}
	if last == nil && news == 0 {
		e.set.Logger.Info("Kubernetes was checked and nothing is missing", zap.Int("checks", len(checks)), zap.String("api", checks[0].Detail))
	}
}

// observe publishes the last checks; those that looked at nothing are left out.
func (e *checkExtension) observe(_ context.Context, o metric.Int64Observer) error {
	checks := e.last.Load()
	if checks == nil {
		return nil
	}
	for _, c := range *checks {
		if c.State == selfcheck.Skipped {
			continue
		}
		failed := int64(0)
		if c.State == selfcheck.Fail {
			failed = 1
		}
		o.Observe(failed, metric.WithAttributes(attribute.String("check", c.Name)))
	}
	return nil
}
