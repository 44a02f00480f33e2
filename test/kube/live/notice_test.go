package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// annotation holds the last verdict.
const annotation = "bramble-tracing.io/config"

// TestEdits edits a ConfigMap of which the agent's configuration is a part, with the rights of components/config-events and
// components/config-api, and reads what the agent tells Kubernetes about it.
func TestEdits(t *testing.T) {
	w := newWorld(t)
	apply(t, w)
	maps := w.Client.CoreV1().ConfigMaps(rendered.Namespace)
	limiter := func(text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "bramble-config"}, Data: map[string]string{"limiter.yaml": text},
		}
	}
	good := func(seconds int) string {
		return fmt.Sprintf("check_interval: %ds\nlimit_percentage: 75\nspike_limit_percentage: 15\n", seconds)
	}
	_, err := maps.Create(t.Context(), limiter(good(1)), metav1.CreateOptions{})
	require.NoError(t, err)
	pod, err := w.Client.CoreV1().Pods(rendered.Namespace).Get(t.Context(), "bramble-x", metav1.GetOptions{})
	require.NoError(t, err)
	b := start(t, w.Plane, harness.Config{
		Env:     []string{"POD_UID=" + string(pod.UID)},
		Overlay: harness.Set("processors::memory_limiter", "${k8sconfigmap:tracing/bramble-config/limiter.yaml}"),
	})
	waitEvent(t, w, pod, "ConfigLoaded", corev1.EventTypeNormal, "")

	_, err = maps.Update(t.Context(), limiter(good(7)), metav1.UpdateOptions{})
	require.NoError(t, err)
	waitEvent(t, w, pod, "ConfigApplied", corev1.EventTypeNormal, "check_interval: 1s -> 7s")
	waitAnnotation(t, w, `"outcome":"applied"`)
	harness.Poll(t, patience, "the edit to be in effect", func() error {
		reply, err := b.TryGet("/status/config")
		if err == nil && !strings.Contains(string(reply.Body), "check_interval: 7s") {
			err = errors.New(string(reply.Body))
		}
		return err
	})

	_, err = maps.Update(t.Context(), limiter("check_intervall: 1s\n"), metav1.UpdateOptions{})
	require.NoError(t, err)
	waitEvent(t, w, pod, "ConfigRejected", corev1.EventTypeWarning, "check_intervall")
	waitAnnotation(t, w, `"outcome":"rejected"`)
	assert.Contains(t, string(b.Get("/status/config").Body), "check_interval: 7s", "it runs on")
	assert.Equal(t, "ok", waitCheck(t, b, "kubernetes/rights/events", "ok").State)
	assert.Empty(t, b.Log.Lines("Kubernetes is not told"))

	// What the rights are for, by what is said without each.
	b.Stop()
	for resource, verb := range map[string]string{"events": "create", "pods": "patch"} {
		t.Run("without "+resource, func(t *testing.T) {
			w.roleWithout(t, "bramble-config-events", verb, resource)
			b := start(t, w.Plane, harness.Config{Env: []string{"POD_UID=" + string(pod.UID)}})
			harness.Poll(t, patience, "the agent to say that it does not tell", func() error {
				if len(b.Log.Lines("Kubernetes is not told", resource+" ")) == 0 {
					return errors.New("it has not said so")
				}
				return nil
			})
			b.Kill()
		})
	}
	_, err = maps.Update(t.Context(), limiter(good(3)), metav1.UpdateOptions{})
	require.NoError(t, err)
	for _, verb := range []string{"get", "list", "watch"} {
		t.Run("without "+verb+" configmaps", func(t *testing.T) {
			w.roleWithout(t, "bramble-config-api", verb, "configmaps")
			cfg := harness.Config{Overlay: harness.Set("processors::memory_limiter", "${k8sconfigmap:tracing/bramble-config/limiter.yaml}")}
			if verb == "get" {
				inPod(t, w.Plane, &cfg)
				code, out := harness.Run(t, cfg)
				assert.NotZero(t, code)
				assert.Contains(t, out, `cannot get resource "configmaps"`)
				return
			}
			b := start(t, w.Plane, cfg)
			c := waitCheck(t, b, "kubernetes/rights/configmaps", "fail")
			assert.Contains(t, c.Detail, "may not "+verb+" configmaps named bramble-config")
			b.Kill()
		})
	}
}

// roleWithout takes a verb out of a Role until the test ends.
func (w *world) roleWithout(t *testing.T, name, verb, resource string) {
	t.Helper()
	roles := w.Client.RbacV1().Roles(rendered.Namespace)
	update := func(rules []rbacv1.PolicyRule) {
		role, err := roles.Get(context.WithoutCancel(t.Context()), name, metav1.GetOptions{})
		require.NoError(t, err)
		role.Rules = rules
		_, err = roles.Update(context.WithoutCancel(t.Context()), role, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	role, err := roles.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	changed := role.DeepCopy().Rules
	take(changed, resource, verb)
	update(changed)
	w.waitRight(t, verb, resource, false)
	t.Cleanup(func() { update(role.Rules) })
}

// TestConfigThroughTheAPI runs the agent with the argument that components/config-api gives it.
func TestConfigThroughTheAPI(t *testing.T) {
	w := newWorld(t)
	apply(t, w)
	objects := rendered.Components(t, []string{"config-api"})
	for _, u := range objects {
		if u.GetKind() == "ConfigMap" && u.GetName() == "bramble-config" {
			require.NoError(t, w.Apply(t.Context(), u, false))
		}
	}
	args := rendered.DaemonSet(t, objects).Spec.Template.Spec.Containers[0].Args
	require.Len(t, args, 1)
	uri := strings.ReplaceAll(strings.TrimPrefix(args[0], "--config="), "$(POD_NAMESPACE)", rendered.Namespace)
	pod, err := w.Client.CoreV1().Pods(rendered.Namespace).Get(t.Context(), "bramble-x", metav1.GetOptions{})
	require.NoError(t, err)
	cfg := harness.Config{Env: []string{"POD_UID=" + string(pod.UID)}}
	inPod(t, w.Plane, &cfg)
	// The harness knows files only: on its way to the binary the file's name becomes the URI.
	const script = `file=$0 uri=$1; shift; for a; do shift; [ "$a" != "$file" ] || a=$uri; set -- "$@" "$a"; done; exec "$@"`
	cfg.Wrap = append(cfg.Wrap, "sh", "-c", script, harness.Root(t, base), uri)
	b := harness.Start(t, cfg)
	w.enriches(t, b)
	assert.Contains(t, string(b.Get("/status/config").Body), uri)

	maps := w.Client.CoreV1().ConfigMaps(rendered.Namespace)
	shipped, err := maps.Get(t.Context(), "bramble-config", metav1.GetOptions{})
	require.NoError(t, err)
	shipped.Data["bramble.yaml"] = strings.Replace(shipped.Data["bramble.yaml"], "check_interval: 1s", "check_interval: 9s", 1)
	_, err = maps.Update(t.Context(), shipped, metav1.UpdateOptions{})
	require.NoError(t, err)
	waitEvent(t, w, pod, "ConfigApplied", corev1.EventTypeNormal, "check_interval: 1s -> 9s")
}

// apply makes the Roles and their bindings that the components config-events and config-api add.
func apply(t *testing.T, w *world) {
	t.Helper()
	components := []string{"config-events", "config-api"}
	n := 0
	for _, u := range rendered.Components(t, components) {
		if u.GetKind() == "Role" || u.GetKind() == "RoleBinding" {
			require.NoError(t, w.Apply(t.Context(), u, false), rendered.ID(u))
			n++
		}
	}
	require.Equal(t, 2*len(components), n)
	for _, right := range []string{"create events", "patch pods", "get configmaps", "list configmaps", "watch configmaps"} {
		verb, resource, _ := strings.Cut(right, " ")
		w.waitRight(t, verb, resource, true)
	}
}

// waitEvent waits for an Event on the pod.
func waitEvent(t *testing.T, w *world, pod *corev1.Pod, reason, kind, part string) {
	t.Helper()
	harness.Poll(t, patience, "the Event "+reason, func() error {
		// As kubectl describe pod asks.
		list, err := w.Client.CoreV1().Events(rendered.Namespace).List(t.Context(), metav1.ListOptions{
			FieldSelector: fields.Set{"involvedObject.name": pod.Name, "involvedObject.uid": string(pod.UID)}.String(),
		})
		if err != nil {
			return err
		}
		var seen []string
		for i := range list.Items {
			e := &list.Items[i]
			if e.Reason == reason && e.Type == kind && strings.Contains(e.Message, part) && e.Source.Component == "bramble" && e.Source.Host == ours {
				return nil
			}
			seen = append(seen, e.Type+" "+e.Reason+": "+e.Message)
		}
		return errors.New(strings.Join(seen, "\n"))
	})
}

func waitAnnotation(t *testing.T, w *world, part string) {
	t.Helper()
	harness.Poll(t, patience, "the annotation to have "+part, func() error {
		pod, err := w.Client.CoreV1().Pods(rendered.Namespace).Get(t.Context(), "bramble-x", metav1.GetOptions{})
		if err == nil && !strings.Contains(pod.Annotations[annotation], part) {
			err = errors.New(pod.Annotations[annotation])
		}
		return err
	})
}
