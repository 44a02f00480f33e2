package kubernetescheckprocessor

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// reason is why a resource has no metadata.
type reason int

const (
	rightsMissing reason = iota
	apiUnreachable
	noAddress
	loopback
	nodeAddress
	unknownPod
	numReasons
)

// names are the values of the attribute reason.
var names = [numReasons]string{"rights_missing", "api_unreachable", "no_address", "loopback", "node_address", "unknown_pod"}

func (r reason) String() string { return names[r] }

// advice says what the reason means and what to do.
var advice = [numReasons]string{
	rightsMissing:  "this agent may not list and watch pods: see the check kubernetes/rights/pods",
	apiUnreachable: "the API server cannot be asked: see the check kubernetes/api",
	noAddress:      "nothing says which pod they are from, and the address of the sender is not known: put k8s_attributes before batch and other processors that wait, or give applications k8s.pod.uid in OTEL_RESOURCE_ATTRIBUTES",
	loopback:       "they come from this pod or node itself, over loopback: a sidecar, a port-forward, or hostNetwork; give the application k8s.pod.uid in OTEL_RESOURCE_ATTRIBUTES",
	nodeAddress:    "the connection has the address of the node or of its bridge, not that of a pod: the application uses hostNetwork, or a hostPort or proxy hides it; send to the Service, or give the application k8s.pod.uid in OTEL_RESOURCE_ATTRIBUTES",
	unknownPod:     "no pod of this node is known by what they say or by the address that they come from: it is on another node (send to the agent of its own node), younger than the agent's knowledge, or no pod at all",
}

// podAttributes are by what a resource says which pod it is from, as the shipped pod_association has them.
var podAttributes = []string{"k8s.pod.uid", "k8s.pod.ip"}

// judge says why a resource has no metadata. state tells what is known of checks; from is the sender's address.
func judge(resource pcommon.Map, from netip.Addr, node map[netip.Addr]bool, state func(string) selfcheck.State) reason {
	if state(kubecheck.RightsCheck+"pods") == selfcheck.Fail {
		return rightsMissing
	}
	if state(kubecheck.APICheck) == selfcheck.Fail {
		return apiUnreachable
	}
	for _, name := range podAttributes {
		if v, ok := resource.Get(name); ok && v.AsString() != "" {
			return unknownPod
		}
	}
	switch {
	case !from.IsValid():
		return noAddress
	case from.IsLoopback():
		return loopback
	case node[from]:
		return nodeAddress
	}
	return unknownPod
}
