package chart

import (
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// TestPodMonitor reads the object strictly into the operator's type: its CRD is in no test's API server. It has to select the
// DaemonSet's pods and name their ports.
func TestPodMonitor(t *testing.T) {
	objects := rendered.Chart(t, "metrics: {scrape: podMonitor, podMonitorLabels: {release: prometheus}}\n")
	pod := rendered.DaemonSet(t, objects).Spec.Template
	ports := map[string]bool{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	for _, u := range objects {
		if u.GetKind() != "PodMonitor" {
			continue
		}
		m := rendered.Typed[monitoringv1.PodMonitor](t, u)
		assert.Equal(t, "prometheus", m.Labels["release"])
		assert.Subset(t, pod.Labels, m.Spec.Selector.MatchLabels)
		require.Len(t, m.Spec.PodMetricsEndpoints, 2)
		for _, e := range m.Spec.PodMetricsEndpoints {
			require.NotNil(t, e.Port)
			assert.True(t, ports[*e.Port], *e.Port)
		}
		return
	}
	t.Fatal("there is no PodMonitor")
}
