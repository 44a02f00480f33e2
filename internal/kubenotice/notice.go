package kubenotice

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
)

const (
	// Annotation holds the last verdict on the pod, as JSON.
	Annotation = "bramble-tracing.io/config"
	// timeout is how long one request to the API server may take.
	timeout = 10 * time.Second
	// waiting is how many records may wait; more are left out: the next one tells the state.
	waiting = 32
	// maxMessage is the longest message of an Event, in bytes, that the API server takes.
	maxMessage = 1024
)

// Pod says whose events they are.
type Pod struct{ Namespace, Name, UID, Node string }

// Notifier posts records. It is safe for concurrent use.
type Notifier struct {
	client kubernetes.Interface
	pod    Pod
	log    func() *zap.Logger
	in     chan liveconfig.Record
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

// New returns a notifier that posts until Close. log is asked for a logger when there is something to say.
func New(client kubernetes.Interface, pod Pod, log func() *zap.Logger) *Notifier {
	ctx, cancel := context.WithCancel(context.Background())
	n := &Notifier{client: client, pod: pod, log: log, in: make(chan liveconfig.Record, waiting), cancel: cancel, done: make(chan struct{})}
	go n.loop(ctx)
	return n
}

// Record takes a record to post. It does not block.
func (n *Notifier) Record(r liveconfig.Record) {
	select {
	case n.in <- r:
	default:
	}
}

// Close ends posting, what is being posted included.
func (n *Notifier) Close() {
	n.cancel()
	<-n.done
}

func (n *Notifier) loop(ctx context.Context) {
	defer close(n.done)
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-n.in:
			for _, err := range []error{n.event(ctx, r), n.annotate(ctx, r)} {
				if err != nil && ctx.Err() == nil {
					n.once.Do(func() { n.explain(err) })
				}
			}
		}
	}
}

// explain says once that Kubernetes is not told. Without the right, which is not in the manifests by default, that is as it
// was set up, and no warning.
func (n *Notifier) explain(err error) {
	if apierrors.IsForbidden(err) {
		n.log().Info("Kubernetes is not told what becomes of the configuration, which is fine: it is said here and on /status/config. "+
			"The component config-events, or the chart's value configEvents.enabled, gives the rights to create events and to patch the pod.", zap.Error(err))
		return
	}
	n.log().Warn("Kubernetes is not told what becomes of the configuration. This is said once.", zap.Error(err))
}

// reasons are the Events' machine-readable reasons.
var reasons = map[liveconfig.Outcome]string{
	liveconfig.Booted: "ConfigLoaded", liveconfig.BootedLast: "ConfigBadAtStart", liveconfig.Applied: "ConfigApplied",
	liveconfig.Rejected: "ConfigRejected", liveconfig.RolledBack: "ConfigRolledBack",
}

func (n *Notifier) event(ctx context.Context, r liveconfig.Record) error {
	kind := corev1.EventTypeWarning
	if r.Outcome == liveconfig.Booted || r.Outcome == liveconfig.Applied {
		kind = corev1.EventTypeNormal
	}
	at := metav1.NewTime(r.Time)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := n.client.CoreV1().Events(n.pod.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: n.pod.Name + ".", Namespace: n.pod.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: n.pod.Namespace, Name: n.pod.Name, UID: types.UID(n.pod.UID),
		},
		Reason: reasons[r.Outcome], Message: message(r), Type: kind, FirstTimestamp: at, LastTimestamp: at, Count: 1,
		Source: corev1.EventSource{Component: "bramble", Host: n.pod.Node},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create an event: %w", err)
	}
	return nil
}

func message(r liveconfig.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "configuration %.12s: %s", r.Hash, r.Outcome)
	if r.Reason != "" {
		b.WriteString(": " + r.Reason)
	}
	for _, c := range r.Changes {
		b.WriteString("\n" + c.String())
	}
	text := b.String()
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage-len("…")], "") + "…"
	}
	return text
}

func (n *Notifier) annotate(ctx context.Context, r liveconfig.Record) error {
	value, err := json.Marshal(map[string]string{
		"outcome": string(r.Outcome), "hash": r.Hash, "time": r.Time.UTC().Format(time.RFC3339), "reason": message(liveconfig.Record{Hash: r.Hash, Outcome: r.Outcome, Reason: r.Reason}),
	})
	if err != nil {
		return fmt.Errorf("encode the annotation: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{Annotation: string(value)}}})
	if err != nil {
		return fmt.Errorf("encode the annotation: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err = n.client.CoreV1().Pods(n.pod.Namespace).Patch(ctx, n.pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("annotate the pod: %w", err)
	}
	return nil
}
