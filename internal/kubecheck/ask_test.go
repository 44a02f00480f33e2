package kubecheck

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/internal/kubecheck/kubechecktest"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

const shipped = `
processors: {k8s_attributes: {filter: {node_from_env_var: KUBE_NODE_NAME}, extract: {metadata: [k8s.pod.name, k8s.cluster.uid]}}}
extensions: {trace_query: {peers: {kubernetes: {service: bramble-peers, namespace: tracing}}}}
service: {extensions: [trace_query], pipelines: {traces: {processors: [k8s_attributes]}}}
`

var agent = Pod{Namespace: "tracing", Name: "bramble-x"}

// to is a checker of a server, without connections that outlive the test.
func to(t *testing.T, url, node string) *Checker {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Checker{
		Timeout: time.Minute,
		Getenv:  func(string) string { return node },
		Connect: func() (kubernetes.Interface, error) {
			return kubernetes.NewForConfig(&rest.Config{Host: url, Transport: transport})
		},
	}
}

func find(t *testing.T, checks []selfcheck.Check, name string) selfcheck.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s in %v", name, checks)
	return selfcheck.Check{}
}

func TestEverythingIsGranted(t *testing.T) {
	s := kubechecktest.New(t)
	s.Place("tracing/bramble-x", "n1")
	checks := to(t, s.URL, "n1").Run(t.Context(), PlanOf(parse(t, shipped), nil, agent))
	for _, c := range checks {
		assert.Equal(t, selfcheck.OK, c.State, "%+v", c)
		assert.Empty(t, c.Fix)
	}
	assert.Contains(t, find(t, checks, APICheck).Detail, kubechecktest.User)
	assert.Equal(t, []string{
		"list pods. /", "watch pods. /", "list namespaces. /kube-system", "watch namespaces. /kube-system",
		"list endpointslices.discovery.k8s.io tracing/", "watch endpointslices.discovery.k8s.io tracing/", "create events. tracing/",
	}, s.Asked(), "exactly what the configuration needs")
}

// TestEachMissingRightIsFound takes every right away in turn.
func TestEachMissingRightIsFound(t *testing.T) {
	s := kubechecktest.New(t)
	s.Place("tracing/bramble-x", "n1")
	plan := PlanOf(parse(t, shipped), nil, agent)
	for right, want := range map[string][]string{
		"list pods":            {"list pods in all namespaces", "no span gets the name", `{apiGroups: [""], resources: [pods], verbs: [list, watch]}`, "a ClusterRole", "kubectl auth can-i list pods -A --as " + kubechecktest.User},
		"watch pods":           {"may not watch pods in all namespaces"},
		"list namespaces":      {"named kube-system", "k8s.cluster.uid", "resourceNames: [kube-system]"},
		"watch namespaces":     {"may not watch namespaces"},
		"list endpointslices":  {"other agents are not found", `apiGroups: ["discovery.k8s.io"]`, "a Role in tracing", "can-i list endpointslices.discovery.k8s.io -n tracing"},
		"watch endpointslices": {"may not watch endpointslices.discovery.k8s.io in the namespace tracing"},
	} {
		t.Run(right, func(t *testing.T) {
			s.Deny(right)
			defer s.Grant(right)
			checks := to(t, s.URL, "n1").Run(t.Context(), plan)
			_, resource, _ := strings.Cut(right, " ")
			for _, c := range checks {
				if c.Name != RightsCheck+resource {
					assert.Equal(t, selfcheck.OK, c.State, "%+v", c)
				}
			}
			c := find(t, checks, RightsCheck+resource)
			assert.Equal(t, selfcheck.Fail, c.State)
			for _, w := range want {
				assert.Contains(t, c.Detail+"\n"+c.Fix, w)
			}
		})
	}
	s.Deny("create events")
	c := find(t, to(t, s.URL, "n1").Run(t.Context(), plan), RightsCheck+"events")
	assert.Equal(t, selfcheck.Skipped, c.State, "nice to have: %+v", c)
}

func TestNode(t *testing.T) {
	s := kubechecktest.New(t)
	s.Place("tracing/bramble-x", "n1")
	plan := PlanOf(parse(t, shipped), nil, agent)
	for node, want := range map[string]string{
		"":   "KUBE_NODE_NAME is empty",
		"n2": "this is the node n2, but the pod tracing/bramble-x is not on it",
	} {
		c := find(t, to(t, s.URL, node).Run(t.Context(), plan), NodeCheck)
		assert.Equal(t, selfcheck.Fail, c.State)
		assert.Contains(t, c.Detail, want)
		assert.Contains(t, c.Fix, "fieldPath: spec.nodeName")
	}
	plan.Pod = Pod{}
	c := find(t, to(t, s.URL, "n2").Run(t.Context(), plan), NodeCheck)
	assert.Equal(t, selfcheck.OK, c.State)
	assert.Contains(t, c.Detail, "POD_NAME")
	plan.Nodes = []NodeName{{For: "processors::k8s_attributes"}}
	c = find(t, to(t, s.URL, "").Run(t.Context(), plan), NodeCheck)
	assert.Equal(t, selfcheck.Warn, c.State)
	assert.Contains(t, c.Fix, "node_from_env_var")
}

// TestAPIServerCannotBeAsked: nothing else is claimed then.
func TestAPIServerCannotBeAsked(t *testing.T) {
	plan := PlanOf(parse(t, shipped), nil, agent)
	s := kubechecktest.New(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	s.Answer(http.StatusUnauthorized)
	for name, tc := range map[string]struct{ url, fix string }{
		"token is refused":      {s.URL, "token is not accepted"},
		"nobody listens":        {closed.URL, "NetworkPolicy"},
		"unknown certificate":   {secure.URL, "certificate"},
		"nothing of the API":    {"http://127.0.0.1:1", "NetworkPolicy"},
		"an address that fails": {"http://[::ffff:0:0]:0", "NetworkPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			checks := to(t, tc.url, "n1").Run(t.Context(), plan)
			api := find(t, checks, APICheck)
			assert.Equal(t, selfcheck.Fail, api.State)
			assert.Contains(t, api.Fix, tc.fix, api.Detail)
			for _, c := range checks {
				if strings.HasPrefix(c.Name, RightsCheck) {
					assert.Equal(t, selfcheck.Skipped, c.State)
				}
			}
			assert.Equal(t, selfcheck.OK, find(t, checks, NodeCheck).State)
		})
	}
	c := to(t, "", "n1")
	c.Connect = nil // There is no cluster around a test.
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", "")
	assert.Equal(t, selfcheck.Skipped, find(t, c.Run(t.Context(), plan), APICheck).State)
	t.Setenv("KUBECONFIG", "/does/not/exist")
	assert.Equal(t, selfcheck.Fail, find(t, c.Run(t.Context(), plan), APICheck).State)
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	assert.Contains(t, find(t, c.Run(t.Context(), plan), APICheck).Fix, "automountServiceAccountToken")
	assert.Equal(t, selfcheck.Skipped, c.Run(t.Context(), Plan{})[0].State)
}

// TestRightsThatCannotBeAsked: an API server that tells nobody who they are still says what they may.
func TestRightsThatCannotBeAsked(t *testing.T) {
	s := kubechecktest.New(t)
	s.Answer(http.StatusForbidden)
	checks := to(t, s.URL, "n1").Run(t.Context(), PlanOf(parse(t, shipped), nil, agent))
	assert.Equal(t, selfcheck.OK, find(t, checks, APICheck).State)
	c := find(t, checks, RightsCheck+"pods")
	assert.Equal(t, selfcheck.Warn, c.State)
	assert.Contains(t, c.Detail, "not known")
	require.Contains(t, c.Fix, "kubectl auth can-i list pods -A")
}
