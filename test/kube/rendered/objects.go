package rendered

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// normalise makes numbers of a decoded document what unstructured wants them to be: int64 and float64.
func normalise(t testing.TB, m map[string]any) *unstructured.Unstructured {
	t.Helper()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON(text))
	return u
}

// ID says which object it is: kind, and namespace and name.
func ID(u *unstructured.Unstructured) string {
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// DaemonSet returns the agent's.
func DaemonSet(t testing.TB, objects []*unstructured.Unstructured) *appsv1.DaemonSet {
	t.Helper()
	for _, u := range objects {
		if u.GetKind() == "DaemonSet" {
			return Typed[appsv1.DaemonSet](t, u)
		}
	}
	t.Fatal("there is no DaemonSet")
	return nil
}

// Typed converts an object, strictly.
func Typed[T any](t testing.TB, u *unstructured.Unstructured) *T {
	t.Helper()
	out := new(T)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, out, true), ID(u))
	return out
}
