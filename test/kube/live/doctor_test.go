package live

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestDoctor runs `bramble doctor` with the arguments of its Job in the agent's pod: everything is well, and without a
// right it says which.
func TestDoctor(t *testing.T) {
	w := newWorld(t)
	b := start(t, w.Plane, harness.Config{})
	w.enriches(t, b)
	code, out := w.doctor(t, b)
	assert.Zero(t, code, out)
	for _, want := range []string{"kubernetes/api", "kubernetes/node", "kubernetes/rights/pods", "kubernetes/rights/namespaces", "trace/metadata"} {
		assert.Regexp(t, `(?m)^ok +`+want+` `, out)
	}
	for resource := range map[string]bool{"pods": true, "namespaces": true} {
		w.rights(t, func(cr *rbacv1.ClusterRole, _ *rbacv1.Role) {
			take(cr.Rules, resource, "list")
		})
		code, out = w.doctor(t, b)
		assert.Equal(t, 1, code, out)
		assert.Regexp(t, `(?m)^fail +kubernetes/rights/`+resource+` .*may not list `+resource, out)
	}
	w.rights(t, nil)
	b.Stop()
}

// doctor runs it beside an agent.
func (w *world) doctor(t *testing.T, b *harness.Bramble) (code int, out string) {
	t.Helper()
	cfg := harness.Config{}
	inPod(t, w.Plane, &cfg)
	line := slices.Concat(cfg.Wrap, []string{
		harness.Binary(t), "doctor", "--config=" + harness.Root(t, base), "--skip=directory,clock,metrics", "--timeout=1m", "--wait=1m",
	})
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(append(os.Environ(), cfg.Env...), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+b.HTTP(), "TEMPO_URL=http://"+b.QueryAddr(), "POD_IP=127.0.0.1")
	text, err := cmd.CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}
