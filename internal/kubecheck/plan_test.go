package kubecheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	var tree map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &tree))
	return tree
}

// lines writes a plan's needs as: name: verbs resource.group/object in namespace.
func lines(p Plan) (out []string) {
	for i := range p.Needs {
		n := &p.Needs[i]
		s := n.Name + ": " + n.describe(strings.Join(n.Verbs, ", "))
		if n.Optional {
			s += " (optional)"
		}
		out = append(out, s)
	}
	return out
}

const pipeline = "\nservice: {extensions: [trace_query], pipelines: {traces: {receivers: [otlp], processors: [k8s_attributes, resource_detection], exporters: [load_balancing]}}}"

func TestPlan(t *testing.T) {
	pod := Pod{Namespace: "tracing", Name: "bramble-x"}
	for name, tc := range map[string]struct {
		conf    string
		sources []string
		want    []string
		nodes   []NodeName
	}{
		"nothing": {conf: "service: {pipelines: {traces: {processors: [pii]}}}"},
		"not in a pipeline": {
			conf: "processors: {k8s_attributes: {}}\nservice: {pipelines: {traces: {processors: [pii]}}}",
		},
		"passthrough": {conf: "processors: {k8s_attributes: {passthrough: true}}" + pipeline},
		"defaults": {
			conf:  "processors: {k8s_attributes: }" + pipeline,
			want:  []string{"pods: list, watch pods in all namespaces", "events: create events in the namespace tracing (optional)"},
			nodes: []NodeName{{For: "processors::k8s_attributes"}},
		},
		"one namespace, one node": {
			conf:  "processors: {k8s_attributes: {filter: {namespace: shop, node: n1}, extract: {metadata: [k8s.node.uid, k8s.deployment.uid]}}}" + pipeline,
			nodes: []NodeName{{For: "processors::k8s_attributes", Node: "n1"}},
			want: []string{
				"pods: list, watch pods in the namespace shop", "replicasets: list, watch replicasets.apps in the namespace shop",
				"nodes: list, watch nodes named n1", "events: create events in the namespace tracing (optional)",
			},
		},
		"labels of everything": {
			conf: "processors: {k8s_attributes: {extract: {labels: [{from: namespace}, {from: deployment}, {from: statefulset}, {key: x}], annotations: [{from: daemonset}, {from: job}, {from: node}]}}}" + pipeline,
			want: []string{
				"pods: list, watch pods in all namespaces", "namespaces: list, watch namespaces", "replicasets: list, watch replicasets.apps in all namespaces",
				"nodes: list, watch nodes", "deployments: list, watch deployments.apps in all namespaces", "statefulsets: list, watch statefulsets.apps in all namespaces",
				"daemonsets: list, watch daemonsets.apps in all namespaces", "jobs: list, watch jobs.batch in all namespaces",
				"events: create events in the namespace tracing (optional)",
			},
			nodes: []NodeName{{For: "processors::k8s_attributes"}},
		},
		"old name of the Deployment": {
			conf: "processors: {k8s_attributes: {extract: {metadata: [k8s.deployment.name], deployment_name_from_replicaset: false}}}" + pipeline,
			want: []string{
				"pods: list, watch pods in all namespaces", "replicasets: list, watch replicasets.apps in all namespaces",
				"events: create events in the namespace tracing (optional)",
			},
			nodes: []NodeName{{For: "processors::k8s_attributes"}},
		},
		"detectors": {
			conf: "processors: {resource_detection: {detectors: [env, k8s_api, kubeadm, openshift]}}" + strings.Replace(pipeline, "k8s_attributes, ", "", 1),
			want: []string{
				"nodes-detector: get nodes", "configmaps-kubeadm: get configmaps named kubeadm-config in the namespace kube-system",
				"infrastructures: get infrastructures.config.openshift.io named cluster", "events: create events in the namespace tracing (optional)",
			},
		},
		"peers and load balancing": {
			conf: "extensions: {trace_query: {peers: {kubernetes: {service: bramble-peers}}}}\nexporters: {load_balancing: {resolver: {k8s: {service: agents.other}}}}" +
				strings.Replace(pipeline, "k8s_attributes, resource_detection", "", 1),
			want: []string{
				"endpointslices: list, watch endpointslices.discovery.k8s.io in the namespace other",
				"endpointslices-2: list, watch endpointslices.discovery.k8s.io in the namespace tracing", "events: create events in the namespace tracing (optional)",
			},
		},
		"configuration of a ConfigMap": {
			conf:    "service: {}",
			sources: []string{"/etc/x.yaml", "k8sconfigmap:tracing/bramble-config/bramble.yaml?fallback=/etc/b.yaml", "k8sconfigmap:tracing/bramble-config/more.yaml", "k8sconfigmap:bad"},
			want: []string{
				"configmaps: get, list, watch configmaps named bramble-config in the namespace tracing", "events: create events in the namespace tracing (optional)",
			},
		},
		"lists where maps should be": {conf: "processors: [k8s_attributes]\nextensions: 3" + pipeline, want: []string{
			"pods: list, watch pods in all namespaces", "events: create events in the namespace tracing (optional)",
		}, nodes: []NodeName{{For: "processors::k8s_attributes"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := PlanOf(parse(t, tc.conf), tc.sources, pod)
			assert.Equal(t, tc.want, lines(p))
			assert.Equal(t, tc.nodes, p.Nodes)
			assert.Equal(t, len(tc.want) == 0, p.Empty())
		})
	}
}

// TestPlanOfTheManifests: what the shipped configuration needs is what manifests/base/rbac.yaml and
// manifests/components/cluster/rbac.yaml grant, and nothing is granted that it does not need.
func TestPlanOfTheManifests(t *testing.T) {
	conf := map[string]any{}
	for _, f := range []string{"base/config/bramble.yaml", "components/cluster/cluster.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "manifests", f))
		require.NoError(t, err)
		overlay(conf, parse(t, string(b)))
	}
	p := PlanOf(conf, nil, Pod{})
	assert.Equal(t, []string{
		"pods: list, watch pods in all namespaces", "namespaces: list, watch namespaces named kube-system",
		"endpointslices: list, watch endpointslices.discovery.k8s.io in the namespace ${env:POD_NAMESPACE}",
	}, lines(p))
	assert.Equal(t, []NodeName{{For: "processors::k8s_attributes", Env: "KUBE_NODE_NAME"}}, p.Nodes)
}

func overlay(dst, src map[string]any) {
	for k, v := range src {
		into, ok := dst[k].(map[string]any)
		from, ok2 := v.(map[string]any)
		if ok && ok2 {
			overlay(into, from)
			continue
		}
		dst[k] = v
	}
}

func FuzzPlanOf(f *testing.F) {
	f.Add("processors: {k8s_attributes: {extract: {labels: [{from: node}, 3]}}}"+pipeline, "k8sconfigmap:a/b/c")
	f.Add("service: {pipelines: {traces: {processors: {a: b}}}}", "")
	f.Fuzz(func(t *testing.T, conf, source string) {
		var tree map[string]any
		if yaml.Unmarshal([]byte(conf), &tree) != nil {
			return
		}
		p := PlanOf(tree, []string{source}, Pod{Namespace: "a", Name: "b"})
		names := map[string]bool{}
		for i := range p.Needs {
			if names[p.Needs[i].Name] {
				t.Fatalf("%s twice", p.Needs[i].Name)
			}
			names[p.Needs[i].Name] = true
		}
	})
}
