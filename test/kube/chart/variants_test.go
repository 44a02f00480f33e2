package chart

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// pair is a variant as kustomize makes it and the values by which the chart makes the same.
type pair struct {
	overlay    string   // of manifests/overlays, or empty for base with components
	components []string // of manifests/components
	values     string   // beside `common`
}

// common are values that every pair needs: the chart leaves the namespace to Helm and the image to its version.
const common = `
namespace: {create: true}
image: {tag: dev}
`

const noBudget = `
podDisruptionBudget: {enabled: false}
`

var pairs = map[string]pair{
	"base":        {},
	"laptop":      {overlay: "laptop", values: noBudget + "resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {memory: 512Mi}}\n"},
	"single-node": {overlay: "single-node", values: noBudget + "persistence: {type: hostPath}\n"},
	"cluster":     {overlay: "cluster", values: "persistence: {type: hostPath}\ncluster: {enabled: true}\n"},
	"cluster-forward": {overlay: "cluster-forward", values: `
persistence: {type: hostPath}
cluster: {enabled: true}
forward: {enabled: true}
`},
	"production": {overlay: "production", values: `
persistence: {type: hostPath, maxSizeMiB: 51200}
cluster: {enabled: true}
production: {enabled: true}
traces: {environment: production}
resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 2Gi}}
`},
	"host ports":   {components: []string{"hostport"}, values: "hostPort: {enabled: true}\n"},
	"host network": {components: []string{"hostnetwork", "cluster", "hostpath"}, values: "hostNetwork: {enabled: true}\ncluster: {enabled: true}\npersistence: {type: hostPath}\n"},
	"remote write": {components: []string{"production", "remote-write"}, values: "production: {enabled: true}\nremoteWrite: {enabled: true}\n"},
	"operator":     {components: []string{"podmonitor"}, values: "metrics: {scrape: podMonitor}\n"},
	"edits":        {components: []string{"config-events", "config-api"}, values: "configEvents: {enabled: true}\nconfigAPI: {enabled: true}\n"},
	"everything": {
		components: []string{"hostpath", "hostport", "cluster", "production", "forward-to-tempo", "remote-write", "podmonitor", "config-events", "config-api"},
		values: `
persistence: {type: hostPath}
hostPort: {enabled: true}
cluster: {enabled: true}
production: {enabled: true}
forward: {enabled: true}
remoteWrite: {enabled: true}
metrics: {scrape: podMonitor}
configEvents: {enabled: true}
configAPI: {enabled: true}
`,
	},
}

// withoutValues are components that the chart leaves out, each with the reason.
var withoutValues = map[string]string{
	"grafana": "dashboards belong to where Grafana is: kubectl apply -k docs/grafana",
}

func (p pair) kustomized(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	if p.overlay != "" {
		return rendered.Overlay(t, p.overlay)
	}
	return rendered.Components(t, p.components)
}

// TestSameObjects compares every field of every object.
func TestSameObjects(t *testing.T) {
	for name, p := range pairs {
		t.Run(name, func(t *testing.T) {
			want := byID(t, fromKustomize(t, p.kustomized(t)))
			got := byID(t, fromHelm(t, rendered.Chart(t, common+p.values)))
			for id, w := range want {
				g, ok := got[id]
				if assert.True(t, ok, "the chart does not make %s", id) {
					assert.Empty(t, differences(w, g, ""), id)
				}
				delete(got, id)
			}
			for id := range got {
				t.Errorf("the chart makes %s, and kustomize does not", id)
			}
		})
	}
}

// TestEveryVariantIsCompared fails when an overlay or a component is added to kustomize and not to the chart.
func TestEveryVariantIsCompared(t *testing.T) {
	have := map[string]bool{}
	for _, p := range pairs {
		have["overlays/"+p.overlay] = true
		for _, c := range p.components {
			have["components/"+c] = true
		}
	}
	for c := range withoutValues {
		have["components/"+c] = true
	}
	for _, class := range []string{"overlays", "components"} {
		entries, err := os.ReadDir(harness.Root(t, "manifests", class))
		require.NoError(t, err)
		for _, e := range entries {
			if e.Name()[0] != '.' {
				assert.True(t, have[class+"/"+e.Name()], "manifests/%s/%s has no counterpart in manifests/helm: give the chart values for it and name it in this test", class, e.Name())
			}
		}
	}
}
