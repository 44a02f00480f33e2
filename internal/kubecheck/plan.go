package kubecheck

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bramble-tracing/bramble/internal/conftree"
)

// Need is the right to do something with one resource.
type Need struct {
	// Name of the check: the resource, lower case, and something that tells it from others of the same resource.
	Name            string
	Group, Resource string
	Verbs           []string
	// Namespace is empty for all namespaces and for resources that are in none. Object is empty for all objects.
	Namespace, Object string
	// For is the part of the configuration that needs it, Loss what there is not without it.
	For, Loss string
	// Optional rights are nice to have.
	Optional bool
}

// NodeName is a setting by which a component watches its own node only.
type NodeName struct {
	// For is the component, Env the environment variable with the name of the node. Both Env and Node are empty if the
	// component watches all nodes.
	For, Env, Node string
}

// Pod says which pod this process is, as the downward API tells it; unknown parts are empty.
type Pod struct{ Namespace, Name string }

// Plan is what a configuration needs of Kubernetes. The zero value needs nothing.
type Plan struct {
	Needs []Need
	Nodes []NodeName
	Pod   Pod
}

// Empty says that the configuration needs nothing of Kubernetes.
func (p *Plan) Empty() bool { return len(p.Needs) == 0 && len(p.Nodes) == 0 }

// watching is what informers do.
var watching = []string{"list", "watch"}

// configMapScheme is the scheme of configurations that are read through the API server: k8sconfigmap:NAMESPACE/NAME/KEY.
const configMapScheme = "k8sconfigmap:"

// PlanOf computes what a configuration needs. conf is its tree, with or without the components' defaults, and sources are
// the locations that it was read from.
func PlanOf(conf map[string]any, sources []string, pod Pod) Plan {
	p := Plan{Pod: pod}
	for _, id := range conftree.Used(conf, "processors") {
		settings := conftree.Branch(conf, "processors", id)
		switch conftree.TypeOf(id) {
		case "k8s_attributes", "k8sattributes":
			p.attributes(id, settings)
		case "resource_detection", "resourcedetection":
			p.detection(id, settings)
		}
	}
	for _, id := range conftree.Used(conf, "exporters") {
		if t := conftree.TypeOf(id); t == "load_balancing" || t == "loadbalancing" {
			if k := conftree.Branch(conf, "exporters", id, "resolver", "k8s"); k != nil {
				name, namespace, _ := strings.Cut(conftree.Text(k["service"]), ".")
				p.endpointSlices("exporters::"+id, cmp.Or(namespace, pod.Namespace, "default"), "the agents behind "+name+" are not found")
			}
		}
	}
	for _, id := range conftree.List(conftree.Branch(conf, "service")["extensions"]) {
		if conftree.TypeOf(id) == "trace_query" {
			if k := conftree.Branch(conf, "extensions", id, "peers", "kubernetes"); k != nil {
				p.endpointSlices("extensions::"+id+"::peers::kubernetes", cmp.Or(conftree.Text(k["namespace"]), pod.Namespace), "other agents are not found: answers are about the spans of this one only")
			}
		}
	}
	p.configMaps(sources)
	if pod.Name != "" && pod.Namespace != "" && !p.Empty() {
		p.add(Need{
			Name: "events", Resource: "events", Verbs: []string{"create"}, Namespace: pod.Namespace, Optional: true,
			For: "reports about configurations", Loss: "what became of an edit is said on /status/config and in the log, and not as an Event",
		})
	}
	return p
}

// add appends a need unless the same is there already.
func (p *Plan) add(n Need) {
	for i := range p.Needs {
		o := &p.Needs[i]
		if o.Group == n.Group && o.Resource == n.Resource && o.Namespace == n.Namespace && o.Object == n.Object && slices.Equal(o.Verbs, n.Verbs) {
			if !strings.Contains(o.For, n.For) {
				o.For += ", " + n.For
			}
			return
		}
	}
	base := n.Name
	for i := 2; slices.ContainsFunc(p.Needs, func(o Need) bool { return o.Name == n.Name }); i++ {
		n.Name = fmt.Sprintf("%s-%d", base, i)
	}
	p.Needs = append(p.Needs, n)
}

// attributes is what k8s_attributes watches.
func (p *Plan) attributes(id string, c map[string]any) {
	if c["passthrough"] == true {
		return
	}
	forID := "processors::" + id
	filter, extract := conftree.Branch(c, "filter"), conftree.Branch(c, "extract")
	namespace, node := conftree.Text(filter["namespace"]), conftree.Text(filter["node"])
	p.Nodes = append(p.Nodes, NodeName{For: forID, Env: conftree.Text(filter["node_from_env_var"]), Node: node})
	p.add(Need{
		Name: "pods", Resource: "pods", Verbs: watching, Namespace: namespace,
		For: forID, Loss: "no span gets the name, namespace or Deployment of its pod",
	})
	names := conftree.List(extract["metadata"])
	from := map[string]bool{}
	for _, field := range slices.Concat(conftree.Trees(extract["labels"]), conftree.Trees(extract["annotations"])) {
		from[cmp.Or(conftree.Text(field["from"]), "pod")] = true
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case from["namespace"]:
		p.add(Need{Name: "namespaces", Resource: "namespaces", Verbs: watching, For: forID, Loss: "no span gets labels or annotations of its namespace"})
	case has("k8s.cluster.uid"):
		p.add(Need{Name: "namespaces", Resource: "namespaces", Verbs: watching, Object: "kube-system", For: forID, Loss: "no span gets k8s.cluster.uid"})
	}
	if has("k8s.deployment.uid") || from["deployment"] || has("k8s.deployment.name") && extract["deployment_name_from_replicaset"] == false {
		p.add(Need{Name: "replicasets", Group: "apps", Resource: "replicasets", Verbs: watching, Namespace: namespace, For: forID, Loss: "no span gets what is known of its Deployment only"})
	}
	if has("k8s.node.uid") || from["node"] {
		p.add(Need{Name: "nodes", Resource: "nodes", Verbs: watching, Object: node, For: forID, Loss: "no span gets labels, annotations or the uid of its node"})
	}
	for _, w := range []struct{ from, group, resource string }{
		{"deployment", "apps", "deployments"}, {"statefulset", "apps", "statefulsets"}, {"daemonset", "apps", "daemonsets"}, {"job", "batch", "jobs"},
	} {
		if from[w.from] || w.from == "job" && has("k8s.cronjob.uid") {
			p.add(Need{Name: w.resource, Group: w.group, Resource: w.resource, Verbs: watching, Namespace: namespace, For: forID, Loss: "no span gets what only its " + w.from + " has"})
		}
	}
}

// detection is what detectors of resource_detection read.
func (p *Plan) detection(id string, c map[string]any) {
	get := []string{"get"}
	for _, d := range conftree.List(c["detectors"]) {
		n := Need{Verbs: get, For: "processors::" + id + "::detectors: " + d}
		switch d {
		case "k8s_api", "k8snode":
			n.Name, n.Resource, n.Loss = "nodes-detector", "nodes", "no span gets what the detector knows of the node"
		case "kubeadm":
			n.Name, n.Resource, n.Namespace, n.Object = "configmaps-kubeadm", "configmaps", "kube-system", "kubeadm-config"
			n.Loss = "no span gets the name of the cluster"
		case "openshift":
			n.Name, n.Group, n.Resource, n.Object = "infrastructures", "config.openshift.io", "infrastructures", "cluster"
			n.Loss = "no span gets what OpenShift knows of the cluster"
		default:
			continue
		}
		p.add(n)
	}
}

func (p *Plan) endpointSlices(forID, namespace, loss string) {
	p.add(Need{
		Name: "endpointslices", Group: "discovery.k8s.io", Resource: "endpointslices", Verbs: watching, Namespace: namespace,
		For: forID, Loss: loss,
	})
}

// configMaps are those that the configuration itself is read from, and watched.
func (p *Plan) configMaps(sources []string) {
	for _, uri := range sources {
		rest, ok := strings.CutPrefix(uri, configMapScheme)
		path, query, _ := strings.Cut(rest, "?")
		parts := strings.Split(path, "/")
		if !ok || len(parts) != 3 {
			continue // Whoever reads it says what is wrong.
		}
		loss := "the configuration cannot be read"
		if strings.Contains(query, "fallback=") {
			loss = "the mounted file is read instead, and an edit is seen a minute later"
		}
		p.add(Need{
			Name: "configmaps", Resource: "configmaps", Verbs: []string{"get", "list", "watch"}, Namespace: parts[0], Object: parts[1],
			For: "--config=" + path, Loss: loss,
		})
	}
}
