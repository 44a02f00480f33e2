package manifests

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const nameLabel = "app.kubernetes.io/name"

// checkNames wants every object labelled, and in one namespace if it is in any.
func checkNames(t *testing.T, objects []object) {
	t.Helper()
	for _, o := range objects {
		assert.Equal(t, "bramble", o.GetLabels()[nameLabel], "%T %s", o, o.GetName())
		if o.GetNamespace() != "" && !strings.HasPrefix(o.GetName(), "bramble-grafana") {
			assert.Contains(t, []string{"tracing"}, o.GetNamespace(), "%T %s", o, o.GetName())
		}
	}
	ds, _ := agent(t, objects)
	assert.Equal(t, "bramble", ds.Spec.Selector.MatchLabels[nameLabel])
	assert.Equal(t, "bramble", ds.Spec.Template.Labels[nameLabel])
	for _, s := range pick[*corev1.Service](objects) {
		assert.Equal(t, map[string]string{nameLabel: "bramble"}, s.Spec.Selector, s.Name)
	}
}

// checkHardened holds the agent's container to what the level restricted asks, in every variant, and to a read-only root.
func checkHardened(t *testing.T, objects []object) {
	t.Helper()
	ds, c := agent(t, objects)
	pod := ds.Spec.Template.Spec
	require.NotNil(t, pod.SecurityContext)
	assert.True(t, *pod.SecurityContext.RunAsNonRoot)
	assert.Positive(t, *pod.SecurityContext.RunAsUser)
	assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.NotNil(t, c.SecurityContext)
	assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
	assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
	assert.Empty(t, c.SecurityContext.Capabilities.Add)
	assert.Nil(t, c.SecurityContext.RunAsUser, "the pod's user holds")
	assert.False(t, pod.HostPID || pod.HostIPC)
	assert.Equal(t, int64(60), *pod.TerminationGracePeriodSeconds)
	assert.NotEmpty(t, pod.PriorityClassName)
	assert.False(t, c.Resources.Limits.Memory().IsZero(), "budgets are taken from the memory limit")
	assert.True(t, c.Resources.Limits.Cpu().IsZero())
	assert.Equal(t, "/ready", c.ReadinessProbe.HTTPGet.Path)
	assert.Equal(t, "/ready", c.StartupProbe.HTTPGet.Path)
	assert.Equal(t, "health", c.LivenessProbe.HTTPGet.Port.StrVal)
}

// checkEnvironment wants what the configuration and the components read, each from where it comes.
func checkEnvironment(t *testing.T, objects []object) {
	t.Helper()
	_, c := agent(t, objects)
	got := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			got[e.Name] = e.ValueFrom.FieldRef.FieldPath
		}
	}
	assert.Equal(t, map[string]string{
		"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid", "POD_IP": "status.podIP", "NODE_IP": "status.hostIP",
		"NODE_NAME": "spec.nodeName", "KUBE_NODE_NAME": "spec.nodeName",
	}, got)
}

// checkRights wants the exact rights: k8s_attributes' for all, EndpointSlices for agents that look for each other.
func checkRights(t *testing.T, objects []object, v variant) {
	t.Helper()
	read := []string{"list", "watch"}
	role := named[*rbacv1.ClusterRole](t, objects, "bramble")
	assert.Equal(t, []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"kube-system"}, Verbs: read},
	}, role.Rules, "no replicasets, and nothing that writes")
	assert.Len(t, pick[*rbacv1.ClusterRole](objects), 1)
	var rules []rbacv1.PolicyRule
	for _, r := range pick[*rbacv1.Role](objects) {
		rules = append(rules, r.Rules...)
	}
	var want []rbacv1.PolicyRule
	if v.clustered {
		want = append(want, rbacv1.PolicyRule{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read})
	}
	assert.Equal(t, append(want, v.rules...), rules)
	account := named[*corev1.ServiceAccount](t, objects, "bramble")
	ds, _ := agent(t, objects)
	assert.Equal(t, account.Name, ds.Spec.Template.Spec.ServiceAccountName)
	var subjects []rbacv1.Subject
	for _, b := range pick[*rbacv1.ClusterRoleBinding](objects) {
		subjects = append(subjects, b.Subjects...)
	}
	for _, b := range pick[*rbacv1.RoleBinding](objects) {
		subjects = append(subjects, b.Subjects...)
	}
	require.NotEmpty(t, subjects)
	for _, s := range subjects {
		assert.Equal(t, rbacv1.Subject{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}, s)
	}
}

// checkLevel wants the pod to have nothing that its level refuses, and the data where the variant says.
func checkLevel(t *testing.T, objects []object, v variant) {
	t.Helper()
	ds, c := agent(t, objects)
	pod := ds.Spec.Template.Spec
	privileged := pod.HostNetwork || slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 })
	data := ""
	for _, vol := range pod.Volumes {
		privileged = privileged || vol.HostPath != nil
		switch {
		case vol.Name == "data" && vol.HostPath != nil:
			data = "hostPath"
		case vol.Name == "data" && vol.EmptyDir != nil:
			data = "emptyDir"
		}
	}
	assert.Equal(t, v.data, data)
	assert.Equal(t, v.level == "privileged", privileged, "a namespace is no more open than its pods need")
	if data != "hostPath" {
		assert.Empty(t, pod.InitContainers)
		return
	}
	require.Len(t, pod.InitContainers, 1)
	init := pod.InitContainers[0]
	assert.Equal(t, c.Image, init.Image, "the agent's own image, which is the only one that is there")
	assert.Equal(t, []corev1.Capability{"ALL"}, init.SecurityContext.Capabilities.Drop)
	assert.Equal(t, []corev1.Capability{"CHOWN", "FOWNER"}, init.SecurityContext.Capabilities.Add)
	assert.True(t, *init.SecurityContext.ReadOnlyRootFilesystem)
}
