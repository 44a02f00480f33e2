package piiprocessor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/pii"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/processors/piiprocessor/internal/metadata"
)

const (
	pollInterval = time.Second
	maxRuleFile  = 1 << 20
)

// piiProcessor applies rules to batches and keeps the rules up to date.
type piiProcessor struct {
	config *Config
	id     string
	log    *zap.Logger
	tel    *metadata.TelemetryBuilder

	ledger  *pii.Ledger
	release func() error // of the board that holds the ledger
	unmount func() error // of the status page

	rules   atomic.Pointer[pii.Rules]
	walkers sync.Pool

	seen [sha256.Size]byte // hash of the content of the rule file that was judged last; used by the watching goroutine

	stop chan struct{}
	done sync.WaitGroup
}

func newProcessor(set processor.Settings, cfg *Config) (*piiProcessor, error) {
	tel, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	return &piiProcessor{config: cfg, id: set.ID.String(), log: set.Logger, tel: tel}, nil
}

// start compiles the rules. When they cannot be used the Collector does not start: it must not run without them.
func (p *piiProcessor) start(ctx context.Context, host component.Host) error {
	board, release, err := procstate.Default.Acquire(pii.BoardKey, "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: &pii.Board{}}, nil
	})
	if err != nil {
		return fmt.Errorf("find the board of pii counts: %w", err)
	}
	p.release = release
	p.ledger = board.(*pii.Board).Ledger(p.id)
	if p.unmount, err = mountPage(host, board.(*pii.Board)); err != nil {
		return err
	}
	cfg := p.config.Config
	if p.config.RulesFile != "" {
		content, err := readRuleFile(p.config.RulesFile)
		if err != nil {
			return err
		}
		p.seen = sha256.Sum256(content)
		if cfg, err = parseRules(content); err != nil {
			return fmt.Errorf("rules_file %s: %w", p.config.RulesFile, err)
		}
	}
	if err := p.use(cfg); err != nil {
		return err
	}
	if p.config.RulesFile != "" {
		p.tel.ProcessorPiiRuleLoads.Add(ctx, 1, outcome("accepted"))
		p.stop = make(chan struct{})
		p.done.Go(p.watch)
	}
	return nil
}

func (p *piiProcessor) shutdown(context.Context) error {
	if p.stop != nil {
		close(p.stop)
		p.done.Wait()
		p.stop = nil
	}
	p.tel.Shutdown()
	var errs []error
	for _, end := range []func() error{p.unmount, p.release} {
		if end != nil { // It is nil if the processor was not started.
			errs = append(errs, end())
		}
	}
	return errors.Join(errs...)
}

// use compiles rules and applies them from the next batch on.
func (p *piiProcessor) use(cfg pii.Config) error {
	key, err := p.config.HashKey.read()
	if err != nil {
		return err
	}
	rules, err := pii.Compile(cfg, key)
	if err != nil {
		return err
	}
	p.rules.Store(rules)
	p.ledger.Configure(p.config.Mode, p.config.RulesFile, rules.List(), time.Now())
	return nil
}

// watch compares the content of the rule file each second. Notifications of the file system are not used: a config map
// is swapped by a symbolic link, which they miss.
func (p *piiProcessor) watch() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.poll(context.Background())
		}
	}
}

// poll reads the rule file and swaps the rules if its content is new and good. The same bad content is reported once.
func (p *piiProcessor) poll(ctx context.Context) {
	content, err := readRuleFile(p.config.RulesFile)
	seen := sha256.Sum256(content)
	if err != nil {
		seen = sha256.Sum256([]byte(err.Error()))
	}
	if seen == p.seen {
		return
	}
	p.seen = seen
	var cfg pii.Config
	if err == nil {
		cfg, err = parseRules(content)
	}
	if err == nil {
		err = p.use(cfg)
	}
	if err != nil {
		p.tel.ProcessorPiiRuleLoads.Add(ctx, 1, outcome("refused"))
		p.ledger.Refused(err.Error())
		p.log.Error("New pii rules are refused, the old ones stay in use", zap.String("rules_file", p.config.RulesFile), zap.Error(err))
		return
	}
	p.tel.ProcessorPiiRuleLoads.Add(ctx, 1, outcome("accepted"))
	p.log.Info("New pii rules are in use", zap.String("rules_file", p.config.RulesFile), zap.Int("rules", p.rules.Load().Len()))
}

func readRuleFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("rules_file: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxRuleFile+1))
	if err != nil {
		return nil, fmt.Errorf("rules_file: read %s: %w", path, err)
	}
	if len(content) > maxRuleFile {
		return nil, fmt.Errorf("rules_file: %s is larger than %d bytes", path, maxRuleFile)
	}
	return content, nil
}

// parseRules decodes the content of a rule file. Unknown fields are errors, and so is an empty file: it is more likely
// one that is being written than the wish for default rules, which "rules: {}" expresses.
func parseRules(content []byte) (pii.Config, error) {
	var cfg pii.Config
	ret, err := confmap.NewRetrievedFromYAML(content)
	if err != nil {
		return cfg, fmt.Errorf("parse YAML: %w", err)
	}
	conf, err := ret.AsConf()
	if err != nil {
		return cfg, fmt.Errorf("parse YAML: %w", err)
	}
	if len(conf.AllKeys()) == 0 && !conf.IsSet("rules") {
		return cfg, errors.New("the file is empty; write `rules: {}` for the default rules")
	}
	if err := conf.Unmarshal(&cfg); err != nil {
		return cfg, fmt.Errorf("decode rules: %w", err)
	}
	return cfg, nil
}

// processTraces scrubs a batch in place.
func (p *piiProcessor) processTraces(ctx context.Context, td ptrace.Traces) (ptrace.Traces, error) {
	rules := p.rules.Load()
	w, _ := p.walkers.Get().(*walker)
	if w == nil || w.sc.Rules() != rules {
		w = newWalker(p, rules)
	}
	dropped := w.traces(ctx, td)
	p.walkers.Put(w)
	if dropped && td.ResourceSpans().Len() == 0 {
		return td, processorhelper.ErrSkipProcessingData
	}
	return td, nil
}
