// Package kubechecktest is the part of an API server that kubecheck asks, for tests: over HTTP, with rights that the test
// gives and takes. test/kube runs the same checks against a real one.
package kubechecktest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// User is who clients are told they are.
const User = "system:serviceaccount:tracing:bramble"

// Server answers as an API server. It is safe for concurrent use.
type Server struct {
	*httptest.Server
	mu     sync.Mutex
	denied map[string]bool
	status int
	pods   map[string]string
	asked  []string
	header http.Header
}

// New starts a server that grants everything, until the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{denied: map[string]bool{}, pods: map[string]string{}, header: http.Header{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	tb.Cleanup(s.Close)
	return s
}

// Deny takes and Grant gives rights, each "verb resource".
func (s *Server) Deny(rights ...string) { s.set(true, rights) }

// Grant is the opposite of Deny.
func (s *Server) Grant(rights ...string) { s.set(false, rights) }

func (s *Server) set(denied bool, rights []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rights {
		s.denied[r] = denied
	}
}

// Answer makes the server answer every request with an HTTP status, and 0 as usual.
func (s *Server) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Header is set on every answer from now on.
func (s *Server) Header(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header.Set(name, value)
}

// Place puts a pod, NAMESPACE/NAME, on a node.
func (s *Server) Place(pod, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[pod] = node
}

// Asked lists the rights that were asked for, "verb resource.group namespace/name".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// Kubeconfig writes a file that KUBECONFIG can name.
func (s *Server) Kubeconfig(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	require.NoError(tb, os.WriteFile(path, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"k","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"u","user":{"token":"t"}}],
"contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}]}`), 0o600))
	return path
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(w.Header(), s.header)
	w.Header().Set("Content-Type", "application/json")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) } // The client that does not read has gone.
	if s.status != 0 {
		w.WriteHeader(s.status)
		answer(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(s.status), //nolint:gosec // A status.
			Reason: map[int]metav1.StatusReason{401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden}[s.status], Message: "told to by the test",
		})
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/selfsubjectreviews"):
		answer(authenticationv1.SelfSubjectReview{
			TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectReview", APIVersion: "authentication.k8s.io/v1"},
			Status:   authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: User}},
		})
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		body, err := io.ReadAll(r.Body)
		obj, _, decodeErr := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		review, ok := obj.(*authorizationv1.SelfSubjectAccessReview)
		if err != nil || decodeErr != nil || !ok || review.Spec.ResourceAttributes == nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a := review.Spec.ResourceAttributes
		s.asked = append(s.asked, a.Verb+" "+a.Resource+"."+a.Group+" "+a.Namespace+"/"+a.Name)
		review.TypeMeta = metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}
		review.Status.Allowed = !s.denied[a.Verb+" "+a.Resource]
		answer(review)
	case strings.HasSuffix(r.URL.Path, "/pods"):
		out := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
		for pod, node := range s.pods {
			namespace, name, _ := strings.Cut(pod, "/")
			selector := r.URL.Query().Get("fieldSelector")
			if strings.Contains(r.URL.Path, "/namespaces/"+namespace+"/") && strings.Contains(selector, "spec.nodeName="+node) && strings.Contains(selector, "metadata.name="+name) {
				out.Items = append(out.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
			}
		}
		answer(out)
	case r.URL.Path == "/version":
		answer(map[string]string{"gitVersion": "v1.0.0-test"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
