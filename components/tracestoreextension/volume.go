package tracestoreextension

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/volume"
)

// tellVolume says in the log and on the board when what is stored will be gone sooner than users may think.
func (e *storeExtension) tellVolume(dir string) (err error) {
	if e.checks, err = selfcheck.Join(e.id); err != nil {
		return fmt.Errorf("find the board of checks: %w", err)
	}
	c := selfcheck.Check{Name: "store/volume", State: selfcheck.OK}
	kind, err := volume.Detect(dir)
	switch {
	case err != nil:
		c.State, c.Detail = selfcheck.Skipped, fmt.Sprintf("on what kind of storage %s is cannot be found out: %v", dir, err)
	case kind.Lost() != "":
		c.State, c.Detail = selfcheck.Warn, fmt.Sprintf("%s: %s", dir, kind.Lost())
		c.Fix = "put the directory on a volume that stays if traces are to outlive it: in Kubernetes manifests/components/hostpath"
		e.logger.Warn("What is stored does not last", zap.String("directory", dir), zap.String("volume", string(kind)), zap.String("found", kind.Lost()), zap.String("to_do", c.Fix))
	default:
		c.Detail = dir + " is on storage that stays"
	}
	e.checks.Report(c)
	return nil
}
