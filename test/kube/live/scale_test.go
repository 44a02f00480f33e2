package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/plane"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// The cluster of TestScale.
const (
	nodes       = 20
	pods        = 2000
	own         = 110 // of them on the agent's node: the kubelet's default limit
	replicaSets = 5000
	runs        = 3        // of the agent in each cluster; the median counts
	allowed     = 10 << 20 // bytes that the rest of the cluster may cost
)

// TestScale compares the agent's memory in a cluster of its own 110 pods with that in one of 2,000 pods and 5,000
// ReplicaSets, and looks in the audit log for what it asked of the API server.
func TestScale(t *testing.T) {
	if os.Getenv("BRAMBLE_FULL") == "" {
		t.Skip("makes 7,000 objects: with BRAMBLE_FULL=1 only")
	}
	w := newWorld(t)
	account := plane.Account(rendered.Namespace, "bramble")
	parallel(t, own-2, func(ctx context.Context, i int) error { return w.shopPod(ctx, ours, i) }) // beside newWorld's two
	small := w.memory(t, runs, harness.Config{})

	started := time.Now()
	parallel(t, nodes, func(ctx context.Context, i int) error {
		_, err := w.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i+1)}}, metav1.CreateOptions{})
		return err
	})
	parallel(t, pods-own-1, func(ctx context.Context, i int) error {
		return w.shopPod(ctx, fmt.Sprintf("node-%d", i%(nodes-1)+2), own+i)
	})
	parallel(t, replicaSets, w.replicaSet)
	t.Logf("%d pods on %d nodes and %d ReplicaSets made in %s", pods, nodes, replicaSets, time.Since(started).Round(time.Second))
	w.counted(t)
	before := len(w.Requests(t, account))
	large := w.memory(t, runs, harness.Config{})

	kinds := map[string]int{}
	for _, r := range w.Requests(t, account)[before:] {
		kinds[r.Verb+" "+r.ObjectRef.Resource]++
		assert.NotEqual(t, "replicasets", r.ObjectRef.Resource, "%+v", r)
		if r.ObjectRef.Resource == "pods" && (r.Verb == "list" || r.Verb == "watch") {
			selector := strings.Split(r.Query().Get("fieldSelector"), ",")
			assert.Contains(t, selector, "spec.nodeName="+ours, "%+v", r)
		}
	}
	require.Positive(t, kinds["watch pods"], "the audit log has the agent's requests")
	t.Logf("what the agent asked in %d runs, from the audit log: %v", runs, kinds)
	t.Logf("RSS with %d own pods alone: %s MiB; with %d pods and %d ReplicaSets in the cluster: %s MiB", own, mib(small...), pods, replicaSets, mib(large...))
	assert.Less(t, median(large), median(small)+allowed)

	// The control: an agent without the node's name, and with an attribute for which ReplicaSets are watched, is seen to
	// do what the others are not.
	w.mayReadReplicaSets(t)
	before = len(w.Requests(t, account))
	careless := w.memory(t, 1, harness.Config{Overlay: harness.Set(
		"processors::k8s_attributes::filter::node_from_env_var", "",
		"processors::k8s_attributes::extract::metadata", []any{"k8s.pod.name", "k8s.deployment.name", "k8s.deployment.uid", "k8s.cluster.uid"},
	)})
	all, sets := false, false
	for _, r := range w.Requests(t, account)[before:] {
		all = all || r.ObjectRef.Resource == "pods" && r.Verb == "watch" && r.Query().Get("fieldSelector") == ""
		sets = sets || r.ObjectRef.Resource == "replicasets"
	}
	assert.True(t, all && sets, "the audit log would have shown it")
	t.Logf("RSS of an agent that watches all pods and all ReplicaSets: %s MiB", mib(careless...))
}

// memory starts agents, one after the other, until each knows the pods of its node and is at rest, and returns their RSS.
func (w *world) memory(t *testing.T, agents int, cfg harness.Config) []int {
	t.Helper()
	out := make([]int, 0, agents)
	for range agents {
		b := start(t, w.Plane, cfg)
		harness.Poll(t, patience, "the pod to be found", func() error {
			if got := send(t, b, address, nil); got["k8s.pod.name"] != w.pod.Name || got["k8s.cluster.uid"] == "" {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
		out = append(out, resting(t, b.PID()))
		b.Stop()
	}
	return out
}

// resting returns the smallest RSS of a process, in bytes, once it has hardly shrunk for five seconds.
func resting(t *testing.T, pid int) int {
	t.Helper()
	const (
		still  = 5 * time.Second
		hardly = 256 << 10
	)
	least, since := rss(t, pid), time.Now()
	harness.Poll(t, patience, "the memory to be at rest", func() error {
		if now := rss(t, pid); now < least-hardly {
			least, since = now, time.Now()
		}
		if time.Since(since) < still {
			return errors.New("it shrinks")
		}
		return nil
	})
	return least
}

// rss reads VmRSS of a process, in bytes.
func rss(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}

func median(of []int) int {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

func mib(bytes ...int) string {
	text := make([]string, 0, len(bytes))
	for _, b := range bytes {
		text = append(text, fmt.Sprintf("%.1f", float64(b)/(1<<20)))
	}
	return strings.Join(text, ", ")
}

// parallel calls f with 0 to n-1, some at once, and ends the test at the first error.
func parallel(t *testing.T, n int, f func(ctx context.Context, i int) error) {
	t.Helper()
	next := make(chan int)
	errs := make(chan error, n)
	var work sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := range next {
				if err := f(t.Context(), i); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	work.Wait()
	close(errs)
	require.NoError(t, <-errs)
}

// shopPod makes the i-th pod: one of 200 Deployments'.
func (w *world) shopPod(ctx context.Context, node string, i int) error {
	hash := fmt.Sprintf("%08x", i%200)
	owner := &metav1.OwnerReference{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("shop-%d-%s", i%200, hash), Controller: new(true),
		UID: types.UID(fmt.Sprintf("11111111-2222-3333-4444-%012x", i%200)),
	}
	labels := map[string]string{"pod-template-hash": hash, "app.kubernetes.io/name": fmt.Sprintf("shop-%d", i%200)}
	_, err := w.Pod(ctx, "shop", fmt.Sprintf("%s-%05d", owner.Name, i), node, fmt.Sprintf("10.244.%d.%d", i/250, i%250+1), labels, owner)
	return err
}

// replicaSet makes the i-th ReplicaSet, an old one of its Deployment.
func (w *world) replicaSet(ctx context.Context, i int) error {
	name, none := fmt.Sprintf("shop-%d", i%200), int32(0)
	labels := map[string]string{"app.kubernetes.io/name": name, "pod-template-hash": fmt.Sprintf("%08x", i)}
	_, err := w.Client.AppsV1().ReplicaSets("shop").Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%08x", name, i), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: types.UID(fmt.Sprintf("11111111-2222-3333-5555-%012x", i%200)), Controller: new(true)}},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/" + name + ":1"}}},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

// counted wants the cluster to be as large as the test says.
func (w *world) counted(t *testing.T) {
	t.Helper()
	list, err := w.Client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	here := 0
	on := map[string]bool{}
	for i := range list.Items {
		on[list.Items[i].Spec.NodeName] = true
		if list.Items[i].Spec.NodeName == ours {
			here++
		}
	}
	sets, err := w.Client.AppsV1().ReplicaSets("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Equal(t, []int{pods, own, nodes, replicaSets}, []int{len(list.Items), here, len(on), len(sets.Items)})
}

func (w *world) mayReadReplicaSets(t *testing.T) {
	t.Helper()
	w.rights(t, func(cr *rbacv1.ClusterRole, _ *rbacv1.Role) {
		cr.Rules = append(cr.Rules, rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list", "watch"}})
	})
}
