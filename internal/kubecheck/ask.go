package kubecheck

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// Names of checks that others look for.
const (
	APICheck    = "kubernetes/api"
	NodeCheck   = "kubernetes/node"
	RightsCheck = "kubernetes/rights/" // and the name of the need
)

// Connect returns a client with the pod's service account or, outside of a cluster, with what KUBECONFIG names. The error
// is rest.ErrNotInCluster if there is neither.
func Connect() (kubernetes.Interface, error) {
	conf, err := Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(conf)
}

// Config is what Connect connects with.
func Config() (*rest.Config, error) {
	conf, err := rest.InClusterConfig()
	path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
	if errors.Is(err, rest.ErrNotInCluster) && path != "" {
		conf, err = clientcmd.BuildConfigFromFlags("", path)
	}
	return conf, err
}

// Checker asks the API server.
type Checker struct {
	// Connect gives the client; by default the function Connect.
	Connect func() (kubernetes.Interface, error)
	// Timeout is how long one request may take.
	Timeout time.Duration
	// Getenv reads the environment; by default os.Getenv.
	Getenv func(string) string
}

// Run checks a plan: the API server first, without whose answers the rest is skipped.
func (c *Checker) Run(ctx context.Context, p Plan) []selfcheck.Check {
	if p.Empty() {
		return []selfcheck.Check{{Name: APICheck, State: selfcheck.Skipped, Detail: "the configuration needs nothing of Kubernetes"}}
	}
	connect := c.Connect
	if connect == nil {
		connect = Connect
	}
	client, err := connect()
	var out []selfcheck.Check
	who := ""
	if err == nil {
		who, err = c.who(ctx, client)
	}
	api := selfcheck.Check{Name: APICheck, State: selfcheck.OK, Detail: "it answers; this process is " + who}
	if errors.Is(err, rest.ErrNotInCluster) {
		api.State, api.Detail = selfcheck.Skipped, "this process is not in a cluster, and KUBECONFIG is not set"
	} else if err != nil {
		api.State, api.Detail, api.Fix = selfcheck.Fail, err.Error(), fixOf(err)
	}
	out = append(out, api)
	reason := ""
	if err != nil {
		reason = "the API server cannot be asked"
	}
	if len(p.Nodes) > 0 {
		out = append(out, c.node(ctx, client, p, reason))
	}
	for i := range p.Needs {
		out = append(out, c.right(ctx, client, &p.Needs[i], who, reason))
	}
	return out
}

// who asks the API server for this process's name, which shows that it answers and takes the token.
func (c *Checker) who(ctx context.Context, client kubernetes.Interface) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case err == nil:
		return cmp.Or(r.Status.UserInfo.Username, "unknown"), nil
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err): // An old API server, or one that lets nobody ask.
		return "a service account whose name is not known", nil
	}
	return "", fmt.Errorf("ask the API server: %w", err)
}

// fixOf says what to do when the API server cannot be asked.
func fixOf(err error) string {
	authority, hostname, invalid := x509.UnknownAuthorityError{}, x509.HostnameError{}, x509.CertificateInvalidError{}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the service account's token is not mounted: set automountServiceAccountToken: true in the pod, and serviceAccountName"
	case apierrors.IsUnauthorized(err):
		return "the token is not accepted: does the service account still exist? Start the pod again; compare the clocks of this node and of the API server"
	case errors.As(err, &authority), errors.As(err, &hostname):
		return "the API server's certificate is not that of this cluster: look at the pod's ca.crt, and for a proxy in between"
	case errors.As(err, &invalid):
		return "the API server's certificate is not valid now: compare the clock of this node with the real time"
	}
	return "look for a NetworkPolicy or firewall between this pod and the API server (kubectl get endpointslices -n default), and whether the API server runs; it is asked again"
}

// right asks for each verb.
func (c *Checker) right(ctx context.Context, client kubernetes.Interface, n *Need, who, reason string) selfcheck.Check {
	out := selfcheck.Check{Name: RightsCheck + n.Name, State: selfcheck.OK}
	if reason != "" {
		out.State, out.Detail = selfcheck.Skipped, reason
		return out
	}
	started := time.Now()
	var missing []string
	for _, verb := range n.Verbs {
		allowed, err := c.allowed(ctx, client, n, verb)
		if err != nil {
			out.State, out.Detail = selfcheck.Warn, fmt.Sprintf("whether this process may %s is not known: %v", n.describe(verb), err)
			out.Fix = "ask by hand: " + n.canI(verb, who)
			return out
		}
		if !allowed {
			missing = append(missing, verb)
		}
	}
	out.Took = time.Since(started)
	all := strings.Join(n.Verbs, ", ")
	switch {
	case len(missing) == 0:
		out.Detail = fmt.Sprintf("%s may %s, for %s", who, n.describe(all), n.For)
	case n.Optional:
		out.State, out.Detail = selfcheck.Skipped, "not granted, which is fine: "+n.Loss
	default:
		out.State = selfcheck.Fail
		out.Detail = fmt.Sprintf("%s may not %s, which %s needs: %s", who, n.describe(strings.Join(missing, ", ")), n.For, n.Loss)
		out.Fix = fmt.Sprintf("add the rule %s to a %s that is bound to it (manifests/ has one); ask with: %s", n.rule(), n.roleKind(), n.canI(missing[0], who))
	}
	return out
}

func (c *Checker) allowed(ctx context.Context, client kubernetes.Interface, n *Need, verb string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: n.Namespace, Verb: verb, Group: n.Group, Resource: n.Resource, Name: n.Object,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return r.Status.Allowed, nil
}

// describe says what is done: "list, watch pods in all namespaces".
func (n *Need) describe(verbs string) string {
	s := verbs + " " + n.Resource
	if n.Group != "" {
		s += "." + n.Group
	}
	if n.Object != "" {
		s += " named " + n.Object
	}
	switch {
	case n.Namespace != "":
		s += " in the namespace " + n.Namespace
	case n.Resource != "nodes" && n.Resource != "namespaces" && n.Resource != "infrastructures":
		s += " in all namespaces"
	}
	return s
}

// rule is the rule of a Role as YAML in one line.
func (n *Need) rule() string {
	names := ""
	if n.Object != "" {
		names = ", resourceNames: [" + n.Object + "]"
	}
	return fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]%s}", n.Group, n.Resource, strings.Join(n.Verbs, ", "), names)
}

func (n *Need) roleKind() string {
	if n.Namespace == "" {
		return "ClusterRole"
	}
	return "Role in " + n.Namespace
}

// canI is the command that asks the same.
func (n *Need) canI(verb, who string) string {
	s := "kubectl auth can-i " + verb + " " + n.Resource
	if n.Group != "" {
		s += "." + n.Group
	}
	if n.Object != "" {
		s += "/" + n.Object
	}
	if n.Namespace != "" {
		s += " -n " + n.Namespace
	} else {
		s += " -A"
	}
	if strings.HasPrefix(who, "system:serviceaccount:") {
		s += " --as " + who
	}
	return s
}

// node checks the names of the node, and that this pod is really there.
func (c *Checker) node(ctx context.Context, client kubernetes.Interface, p Plan, reason string) selfcheck.Check {
	getenv := c.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	out := selfcheck.Check{Name: NodeCheck, State: selfcheck.OK}
	for _, n := range p.Nodes {
		node := n.Node
		const fix = "give the container the environment variable %s by the downward API: valueFrom: {fieldRef: {fieldPath: spec.nodeName}}"
		if n.Env != "" {
			if node = getenv(n.Env); node == "" {
				out.State, out.Detail = selfcheck.Fail, fmt.Sprintf("the environment variable %s is empty: %s watches the pods of all nodes, not of its own", n.Env, n.For)
				out.Fix = fmt.Sprintf(fix, n.Env)
				return out
			}
		}
		if node == "" {
			out.State, out.Detail = selfcheck.Warn, n.For+" watches the pods of all nodes: on a DaemonSet each agent then holds all pods of the cluster in memory"
			out.Fix = "set " + n.For + "::filter::node_from_env_var: KUBE_NODE_NAME, and " + fmt.Sprintf(fix, "KUBE_NODE_NAME")
			return out
		}
		if reason != "" || p.Pod.Name == "" || p.Pod.Namespace == "" {
			out.Detail = fmt.Sprintf("%s, not compared with the API server: %s", node, cmp.Or(reason, "POD_NAME and POD_NAMESPACE do not say which pod this is"))
			continue
		}
		here, err := c.onNode(ctx, client, p.Pod, node)
		switch {
		case err != nil:
			out.Detail = fmt.Sprintf("%s, not compared with the API server: %v", node, err)
		case !here:
			out.State = selfcheck.Fail
			out.Detail = fmt.Sprintf("%s says that this is the node %s, but the pod %s/%s is not on it: %s watches the wrong pods", cmp.Or(n.Env, n.For+"::filter::node"), node, p.Pod.Namespace, p.Pod.Name, n.For)
			out.Fix = fmt.Sprintf(fix, cmp.Or(n.Env, "KUBE_NODE_NAME"))
			return out
		default:
			out.Detail = node + ", and this pod is on it"
		}
	}
	return out
}

// onNode looks for the pod among those of the node, which is what may be listed.
func (c *Checker) onNode(ctx context.Context, client kubernetes.Interface, pod Pod, node string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	pods, err := client.CoreV1().Pods(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"spec.nodeName": node, metav1.ObjectNameField: pod.Name}.String(), Limit: 1,
	})
	if err != nil {
		return false, err
	}
	return len(pods.Items) > 0, nil
}
