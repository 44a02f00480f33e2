package live

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/plane"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// TestDaemonSet applies overlays for real, their own Namespace first, and waits for the controller's pods: admission lets
// them in under the level that the Namespace enforces, one for each node with an architecture of ours.
func TestDaemonSet(t *testing.T) {
	for name, budget := range map[string]bool{"laptop": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			p := plane.Start(t)
			for i, arch := range []string{"amd64", "arm64", "s390x"} {
				node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
					Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": arch},
				}}
				node.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
				_, err := p.Client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
				require.NoError(t, err)
			}
			for _, u := range rendered.Overlay(t, name) {
				require.NoError(t, p.Apply(t.Context(), u, false), rendered.ID(u))
			}
			var pods *corev1.PodList
			harness.Poll(t, patience, "a pod on each node", func() (err error) {
				pods, err = p.Client.CoreV1().Pods(rendered.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=bramble"})
				if err == nil && len(pods.Items) != 2 {
					events, _ := p.Client.CoreV1().Events(rendered.Namespace).List(t.Context(), metav1.ListOptions{})
					err = fmt.Errorf("%d pods; %v", len(pods.Items), events)
				}
				return err
			})
			for i := range pods.Items {
				spec := &pods.Items[i].Spec
				assert.Equal(t, int32(1_000_000), *spec.Priority)
				assert.Equal(t, "bramble", spec.ServiceAccountName)
				assert.True(t, spec.Containers[0].Resources.Limits.Cpu().IsZero())
			}
			if !budget {
				return
			}
			harness.Poll(t, patience, "the PodDisruptionBudget to be for the pods", func() error {
				b, err := p.Client.PolicyV1().PodDisruptionBudgets(rendered.Namespace).Get(t.Context(), "bramble", metav1.GetOptions{})
				if err == nil && b.Status.ExpectedPods != 2 {
					err = errors.New(b.Status.String())
				}
				return err
			})
		})
	}
}
