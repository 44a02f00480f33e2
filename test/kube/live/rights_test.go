package live

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/plane"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// world is a control plane with the shipped rights of the agent, its own pod and two pods that send spans.
type world struct {
	*plane.Plane
	pod         *corev1.Pod // on the agent's node, 127.0.0.10
	clusterUID  string
	clusterRole rbacv1.ClusterRole // as shipped
	role        rbacv1.Role
}

const (
	address  = "127.0.0.10" // of the pod on the agent's node
	stranger = "127.0.0.11" // of a pod on another node
	nobody   = "127.0.0.12"
)

func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	w := &world{Plane: plane.Start(t, flags...)}
	w.Namespace(t, rendered.Namespace, "privileged")
	w.Namespace(t, "shop", "privileged")
	for _, u := range rendered.Overlay(t, "cluster") {
		switch u.GetKind() {
		case "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
			require.NoError(t, w.Apply(t.Context(), u, false), rendered.ID(u))
		}
		switch u.GetKind() {
		case "ClusterRole":
			w.clusterRole = *rendered.Typed[rbacv1.ClusterRole](t, u)
		case "Role":
			w.role = *rendered.Typed[rbacv1.Role](t, u)
		}
	}
	each(&w.clusterRole, &w.role, func(resource, verb string) { w.waitRight(t, verb, resource, true) })
	ns, err := w.Client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	require.NoError(t, err)
	w.clusterUID = string(ns.UID)
	owner := &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-5d4f8c7b9d", UID: "11111111-2222-3333-4444-555555555555", Controller: new(true)}
	labels := map[string]string{"pod-template-hash": "5d4f8c7b9d"}
	w.pod, err = w.Pod(t.Context(), "shop", "shop-5d4f8c7b9d-abcde", ours, address, labels, owner)
	require.NoError(t, err)
	_, err = w.Pod(t.Context(), "shop", "shop-5d4f8c7b9d-fghij", "node-2", stranger, labels, owner)
	require.NoError(t, err)
	_, err = w.Pod(t.Context(), rendered.Namespace, "bramble-x", ours, "127.0.0.1", nil, nil)
	require.NoError(t, err)
	node := "node-2"
	_, err = w.Client.DiscoveryV1().EndpointSlices(rendered.Namespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "bramble-peers-1", Labels: map[string]string{discoveryv1.LabelServiceName: "bramble-peers"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{plane.PeerAddress}, NodeName: &node}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return w
}

// rights changes the roles.
func (w *world) rights(t *testing.T, change func(*rbacv1.ClusterRole, *rbacv1.Role)) {
	t.Helper()
	cr, r := w.clusterRole.DeepCopy(), w.role.DeepCopy()
	if change != nil {
		change(cr, r)
	}
	_, err := w.Client.RbacV1().ClusterRoles().Update(t.Context(), cr, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = w.Client.RbacV1().Roles(r.Namespace).Update(t.Context(), r, metav1.UpdateOptions{})
	require.NoError(t, err)
	has := map[string]bool{}
	each(cr, r, func(resource, verb string) { has[verb+" "+resource] = true })
	each(&w.clusterRole, &w.role, func(resource, verb string) { w.waitRight(t, verb, resource, has[verb+" "+resource]) })
}

// objects are those of a resource that the rights are for; of others it is all.
var objects = map[string]string{"namespaces": "kube-system", "configmaps": "bramble-config"}

// waitRight waits until kube-apiserver has seen a change of the agent's roles.
func (w *world) waitRight(t *testing.T, verb, resource string, want bool) {
	t.Helper()
	a := &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource, Name: objects[resource]}
	switch resource {
	case "endpointslices":
		a.Group, a.Namespace = "discovery.k8s.io", rendered.Namespace
	case "events", "configmaps":
		a.Namespace = rendered.Namespace
	case "pods":
		if verb == "patch" {
			a.Namespace = rendered.Namespace
		}
	}
	harness.Poll(t, patience, fmt.Sprintf("the right to %s %s to be %t", verb, resource, want), func() error {
		r, err := w.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: plane.Account(rendered.Namespace, "bramble"), ResourceAttributes: a},
		}, metav1.CreateOptions{})
		if err == nil && r.Status.Allowed != want {
			err = fmt.Errorf("it is %t: %s", r.Status.Allowed, r.Status.Reason)
		}
		return err
	})
}

// older makes kube-apiserver one that does not answer lists by watches, as most before 1.34.
const older = "--feature-gates=WatchList=false"

// TestRights runs the agent with the shipped rights, on API servers of both kinds, and then without each of them.
func TestRights(t *testing.T) {
	for name, flags := range map[string][]string{"current": nil, "older": {older}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, flags...)
			w.enough(t)
			used := map[string]bool{}
			for _, r := range w.Requests(t, plane.Account(rendered.Namespace, "bramble")) {
				used[r.Verb+" "+r.ObjectRef.Resource] = true
			}
			each(&w.clusterRole, &w.role, func(resource, verb string) {
				if verb == "list" && flags == nil {
					return
				}
				assert.True(t, used[verb+" "+resource], "the roles allow %s %s, which was not asked for: %v", verb, resource, used)
			})
			w.without(t)
		})
	}
}

// enough runs the agent with all rights: it finds everything, and is refused nothing but what it only tries.
func (w *world) enough(t *testing.T) {
	t.Helper()
	b := start(t, w.Plane, harness.Config{})
	w.enriches(t, b)
	w.knowsItself(t, b)
	b.Stop()
	b = start(t, w.Plane, harness.Config{Files: []string{base, cluster}})
	w.findsPeer(t, b)
	w.knowsItself(t, b)
	b.Stop()
	for _, r := range w.Requests(t, plane.Account(rendered.Namespace, "bramble")) {
		notice := r.Verb == "create" && r.ObjectRef.Resource == "events" || r.Verb == "patch" && r.ObjectRef.Resource == "pods"
		unknown := r.ResponseStatus.Code == http.StatusUnprocessableEntity && r.Query().Has("sendInitialEvents") // by an older API server
		assert.True(t, r.ResponseStatus.Code < 400 || notice || unknown, "%+v", r)
	}
}

// each calls f for every right.
func each(cr *rbacv1.ClusterRole, r *rbacv1.Role, f func(resource, verb string)) {
	for _, rule := range slices.Concat(cr.Rules, r.Rules) {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				f(resource, verb)
			}
		}
	}
}

// without takes every rule away and then every verb, one at a time. What the rule is for does not work then, and the agent
// says which right it lacks.
func (w *world) without(t *testing.T) {
	t.Helper()
	losses := map[string]func(t *testing.T, b *harness.Bramble){
		"pods": func(t *testing.T, b *harness.Bramble) {
			got := send(t, b, nobody, map[string]string{"k8s.pod.uid": string(w.pod.UID)})
			assert.NotContains(t, got, "k8s.pod.name")
			assert.NotContains(t, send(t, b, address, nil), "k8s.pod.name")
		},
		"namespaces": func(t *testing.T, b *harness.Bramble) {
			harness.Poll(t, patience, "the pod to be found", func() error {
				if got := send(t, b, address, nil); got["k8s.pod.name"] != w.pod.Name {
					return fmt.Errorf("%v", got)
				}
				return nil
			})
			assert.NotContains(t, send(t, b, address, nil), "k8s.cluster.uid")
		},
		"endpointslices": func(t *testing.T, b *harness.Bramble) {
			assert.NotContains(t, string(b.Get("/status/peers").Body), plane.PeerAddress)
		},
	}
	tried := map[string]bool{}
	each(&w.clusterRole, &w.role, func(resource, verb string) {
		t.Run("without "+verb+" "+resource, func(t *testing.T) {
			w.rights(t, func(cr *rbacv1.ClusterRole, r *rbacv1.Role) {
				take(cr.Rules, resource, verb)
				take(r.Rules, resource, verb)
			})
			c := w.found(t, resource, func(*harness.Bramble) {})
			assert.Contains(t, c.Detail, "may not "+verb+" "+resource)
			assert.Contains(t, c.Fix, resource)
		})
		if tried[resource] {
			return
		}
		tried[resource] = true
		t.Run("without "+resource, func(t *testing.T) {
			w.rights(t, func(cr *rbacv1.ClusterRole, r *rbacv1.Role) {
				for _, verb := range []string{"list", "watch"} {
					take(cr.Rules, resource, verb)
					take(r.Rules, resource, verb)
				}
			})
			loss, ok := losses[resource]
			require.True(t, ok, "nothing says what %s are for", resource)
			c := w.found(t, resource, func(b *harness.Bramble) { loss(t, b) })
			assert.Contains(t, c.Detail, "may not list, watch "+resource)
		})
	})
	w.rights(t, nil)
}

// found runs an agent until it finds that a right is missing, and looks at what else there is.
func (w *world) found(t *testing.T, resource string, look func(*harness.Bramble)) check {
	t.Helper()
	cfg := harness.Config{}
	if resource == "endpointslices" {
		cfg.Files = []string{base, cluster}
	}
	b := start(t, w.Plane, cfg)
	c := waitCheck(t, b, "kubernetes/rights/"+resource, "fail")
	look(b)
	all, err := checks(b)
	require.NoError(t, err)
	for name, other := range all {
		if strings.HasPrefix(name, "kubernetes/rights/") && name != "kubernetes/rights/"+resource {
			assert.NotEqual(t, "fail", other.State, "%+v", other)
		}
	}
	assert.Equal(t, "ready\n", string(b.Get("/ready").Body), "H-01: it does not fail for this")
	assert.NotEmpty(t, b.Log.Lines("A check of Kubernetes fails", "kubernetes/rights/"+resource))
	b.Kill()
	return c
}

// take removes a verb from the rules for a resource. A rule without verbs is no rule, so its place is kept by one that
// nobody has use for.
func take(rules []rbacv1.PolicyRule, resource, verb string) {
	for i := range rules {
		if slices.Contains(rules[i].Resources, resource) {
			rules[i].Verbs = slices.DeleteFunc(slices.Clone(rules[i].Verbs), func(v string) bool { return v == verb })
			if len(rules[i].Verbs) == 0 {
				rules[i].Verbs = []string{"none"}
			}
		}
	}
}

// enriches wants the pod's metadata by each way of association, and none for pods of other nodes.
func (w *world) enriches(t *testing.T, b *harness.Bramble) {
	t.Helper()
	want := map[string]string{
		"k8s.pod.name": w.pod.Name, "k8s.pod.uid": string(w.pod.UID), "k8s.namespace.name": "shop", "k8s.node.name": ours,
		"k8s.deployment.name": "shop", "k8s.cluster.uid": w.clusterUID, "k8s.cluster.name": "test",
	}
	ways := map[string]struct {
		from       string
		attributes map[string]string
	}{
		"connection":  {from: address},
		"k8s.pod.uid": {nobody, map[string]string{"k8s.pod.uid": string(w.pod.UID)}},
		"k8s.pod.ip":  {nobody, map[string]string{"k8s.pod.ip": address}},
	}
	for way, s := range ways {
		harness.Poll(t, patience, "the pod to be found by "+way, func() error {
			got := send(t, b, s.from, s.attributes)
			var missing []error
			for k, v := range want {
				if got[k] != v {
					missing = append(missing, fmt.Errorf("%s is %q, not %q", k, got[k], v))
				}
			}
			return errors.Join(missing...)
		})
	}
	for _, from := range []string{stranger, nobody} {
		got := send(t, b, from, nil)
		assert.NotContains(t, got, "k8s.pod.name", from)
		assert.Equal(t, "test", got["k8s.cluster.name"])
	}
}

func (w *world) findsPeer(t *testing.T, b *harness.Bramble) {
	t.Helper()
	harness.Poll(t, patience, "the other agent to be found", func() error {
		reply, err := b.TryGet("/status/peers")
		if err == nil && !strings.Contains(string(reply.Body), plane.PeerAddress) {
			err = errors.New(string(reply.Body))
		}
		return err
	})
}

// knowsItself wants the agent to find that it has all rights.
func (w *world) knowsItself(t *testing.T, b *harness.Bramble) {
	t.Helper()
	waitCheck(t, b, "kubernetes/rights/pods", "ok")
	all, err := checks(b)
	require.NoError(t, err)
	for name, c := range all {
		if strings.HasPrefix(name, "kubernetes/rights/") && name != "kubernetes/rights/events" || name == "kubernetes/api" || name == "kubernetes/node" {
			assert.Equal(t, "ok", c.State, "%+v", c)
		}
	}
}
