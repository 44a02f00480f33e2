package plane

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/restmapper"

	"github.com/bramble-tracing/bramble/test/harness"
)

// Apply applies an object on the server's side, as kubectl apply --server-side does: unknown and doubled fields are errors.
// With dry nothing is stored, but everything is checked.
func (p *Plane) Apply(ctx context.Context, u *unstructured.Unstructured, dry bool) error {
	groups, err := restmapper.GetAPIGroupResources(p.Client.Discovery())
	if err != nil {
		return fmt.Errorf("ask for the API's resources: %w", err)
	}
	gvk := u.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return fmt.Errorf("find the resource of %s: %w", gvk, err)
	}
	text, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: "test", FieldValidation: metav1.FieldValidationStrict, Force: &force}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	client := p.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		_, err = client.Namespace(cmp.Or(u.GetNamespace(), metav1.NamespaceDefault)).Patch(ctx, u.GetName(), applyPatch, text, options)
	} else {
		_, err = client.Patch(ctx, u.GetName(), applyPatch, text, options)
	}
	return err
}

const applyPatch = "application/apply-patch+yaml"

// Namespace makes a namespace with a PodSecurity level, and waits for its default ServiceAccount. It may be there already.
func (p *Plane) Namespace(t testing.TB, name, level string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
	_, err := p.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = p.Client.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{})
	}
	require.NoError(t, err)
	harness.Poll(t, startTimeout, "the default ServiceAccount of "+name, func() error {
		_, err := p.Client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// Token mints a token for a ServiceAccount, as the kubelet does for a pod.
func (p *Plane) Token(t testing.TB, namespace, account string) string {
	t.Helper()
	seconds := int64(time.Hour / time.Second)
	r, err := p.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return r.Status.Token
}

// Pod makes a pod on a node and lets it run at an address, as scheduler and kubelet would. owner is optional.
func (p *Plane) Pod(ctx context.Context, namespace, name, node, ip string, labels map[string]string, owner *metav1.OwnerReference) (*corev1.Pod, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "app", Image: "app:1"}}},
	}
	if owner != nil {
		pod.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	pod, err := p.Client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create pod %s: %w", name, err)
	}
	started := metav1.Now()
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &started,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", Image: "app:1", Ready: true, ContainerID: "containerd://" + name,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
		}},
	}
	pod, err = p.Client.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("let pod %s run: %w", name, err)
	}
	return pod, nil
}
