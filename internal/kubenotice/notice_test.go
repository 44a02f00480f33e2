package kubenotice

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEventAndAnnotation(t *testing.T) {
	c := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "tracing", Name: "bramble-x", UID: "u"}})
	n := New(c, Pod{Namespace: "tracing", Name: "bramble-x", UID: "u", Node: "n1"}, zap.NewNop)
	defer n.Close()
	long := strings.Repeat("ä", 2000)
	n.Record(liveconfig.Record{Time: time.Unix(1, 0), Hash: "0123456789abcdef", Outcome: liveconfig.Rejected, Reason: "receivers::otlp: " + long})
	require.Eventually(t, func() bool {
		p, err := c.CoreV1().Pods("tracing").Get(t.Context(), "bramble-x", metav1.GetOptions{})
		return err == nil && strings.Contains(p.Annotations[Annotation], `"outcome":"rejected"`)
	}, time.Minute, time.Millisecond)
	events, err := c.CoreV1().Events("tracing").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, events.Items, 1)
	e := events.Items[0]
	assert.Equal(t, "ConfigRejected", e.Reason)
	assert.Equal(t, corev1.EventTypeWarning, e.Type)
	assert.Equal(t, "bramble-x", e.InvolvedObject.Name)
	assert.Contains(t, e.Message, "0123456789ab: rejected: receivers::otlp: ä")
	assert.LessOrEqual(t, len(e.Message), maxMessage)
}

// TestWithoutRights says so once, as a warning unless it is as it was set up, and goes on.
func TestWithoutRights(t *testing.T) {
	for _, tc := range []struct {
		err   error
		level zapcore.Level
		says  string
	}{
		{apierrors.NewForbidden(corev1.Resource("events"), "", errors.New("no rule")), zap.InfoLevel, "configEvents.enabled"},
		{errors.New("connection refused"), zap.WarnLevel, "This is said once."},
	} {
		t.Run(tc.says, func(t *testing.T) {
			c := fake.NewClientset()
			asked := make(chan struct{}, 100)
			c.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
				asked <- struct{}{}
				return true, nil, tc.err
			})
			core, logs := observer.New(zap.DebugLevel)
			n := New(c, Pod{Namespace: "tracing", Name: "bramble-x"}, func() *zap.Logger { return zap.New(core) })
			for range 2 {
				n.Record(liveconfig.Record{Outcome: liveconfig.Applied})
			}
			for range 4 {
				<-asked
			}
			n.Close()
			require.Len(t, logs.All(), 1)
			said := logs.All()[0]
			assert.Equal(t, tc.level, said.Level)
			assert.Contains(t, said.Message, tc.says)
			assert.Contains(t, said.ContextMap()["error"], tc.err.Error())
			for range 2 * waiting { // Nobody takes them any more: they do not block.
				n.Record(liveconfig.Record{})
			}
		})
	}
}
