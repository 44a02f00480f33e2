package chart

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// TestLint is what `helm lint --strict` says.
func TestLint(t *testing.T) {
	for _, m := range lint.All(harness.Root(t, "manifests", "helm"), map[string]any{}, rendered.Namespace, true).Messages {
		assert.Less(t, m.Severity, support.WarningSev, m.Error())
	}
}
