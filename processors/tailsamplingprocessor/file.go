package tailsamplingprocessor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/sampling"
)

const (
	pollInterval    = time.Second
	maxPoliciesFile = 1 << 20
)

// policiesFile is the file of policies. After Start it belongs to the goroutine that watches it.
type policiesFile struct {
	path string
	seen [sha256.Size]byte // hash of the content that was judged last
}

func (f *policiesFile) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("policies_file: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPoliciesFile+1))
	if err != nil {
		return nil, fmt.Errorf("policies_file: read %s: %w", f.path, err)
	}
	if len(content) > maxPoliciesFile {
		return nil, fmt.Errorf("policies_file: %s is larger than %d bytes", f.path, maxPoliciesFile)
	}
	return content, nil
}

// compileFile makes the content of a file ready to run. A file without policies is refused: it is more likely one that is
// being written than the wish to keep nothing.
func compileFile(content []byte) (*sampling.Policies, error) {
	cfg, err := sampling.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("policies_file: %w", err)
	}
	if len(cfg.Policies) == 0 {
		return nil, errors.New("policies_file: it has no policies, so nothing would be kept beyond the recent window")
	}
	p, err := sampling.Compile(cfg)
	if err != nil {
		return nil, fmt.Errorf("policies_file: %w", err)
	}
	return p, nil
}

// load makes the policies of the configuration or of the file ready to run.
func (p *storeProcessor) load(ctx context.Context) error {
	if p.config.PoliciesFile == "" {
		policies, err := sampling.Compile(p.config.Config)
		if err != nil {
			return fmt.Errorf("policies: %w", err)
		}
		p.policies.Store(policies)
		return nil
	}
	content, err := p.file.read()
	if err != nil {
		return err
	}
	p.file.seen = sha256.Sum256(content)
	policies, err := compileFile(content)
	if err != nil {
		return err
	}
	p.policies.Store(policies)
	p.tel.ProcessorTailSamplingPolicyLoads.Add(ctx, 1, outcome("accepted"))
	return nil
}

func outcome(o string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("outcome", o))
}

// watch compares the content of the file each second. Notifications of the file system are not used: a config map is
// swapped by a link, which they miss or report in many ways.
func (p *storeProcessor) watch() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.poll(context.Background())
		}
	}
}

// poll reads the file and swaps the policies if its content is new and good. The same bad content is reported once.
func (p *storeProcessor) poll(ctx context.Context) {
	content, err := p.file.read()
	seen := sha256.Sum256(content)
	if err != nil {
		seen = sha256.Sum256([]byte(err.Error()))
	}
	if seen == p.file.seen {
		return
	}
	p.file.seen = seen
	var policies *sampling.Policies
	if err == nil {
		policies, err = compileFile(content)
	}
	if err != nil {
		p.tel.ProcessorTailSamplingPolicyLoads.Add(ctx, 1, outcome("refused"))
		p.log.Error("New sampling policies are refused, the old ones stay in use", zap.String("policies_file", p.config.PoliciesFile), zap.Error(err))
		return
	}
	p.policies.Store(policies)
	p.tel.ProcessorTailSamplingPolicyLoads.Add(ctx, 1, outcome("accepted"))
	p.log.Info("New sampling policies are in use", zap.String("policies_file", p.config.PoliciesFile), zap.Strings("policies", policies.Names()))
}
