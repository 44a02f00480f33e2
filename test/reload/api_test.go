package reload

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// apiServer answers like a Kubernetes API server with one ConfigMap: get, list and watch over HTTP, as far as client-go
// asks for them.
type apiServer struct {
	mu      sync.Mutex
	version int
	data    map[string]string
	changed chan struct{} // closed and replaced at each edit
}

func (s *apiServer) object() map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": "tracing", "name": "bramble", "resourceVersion": strconv.Itoa(s.version)}, "data": s.data,
	}
}

func (s *apiServer) edit(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.data = map[string]string{key: value}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const list = "/api/v1/namespaces/tracing/configmaps"
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == list+"/bramble":
		_ = json.NewEncoder(w).Encode(s.object())
	case r.URL.Path != list || q.Get("fieldSelector") != "metadata.name=bramble":
		http.Error(w, `{"kind":"Status","status":"Failure","code":403}`, http.StatusForbidden)
	case q.Get("sendInitialEvents") == "true": // As a server that does not know it: the client lists instead.
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
	case q.Get("watch") != "":
		s.watch(w, r)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMapList", "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": []any{s.object()},
		})
	}
}

// watch sends each edit after the asked version. s.mu is held.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	seen, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	_ = http.NewResponseController(w).Flush()
	for {
		if s.version > seen {
			seen = s.version
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": s.object()})
			_ = http.NewResponseController(w).Flush()
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		s.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
}

// TestConfigMapThroughTheAPI edits a ConfigMap that a part of the configuration is read from through the API server.
func TestConfigMapThroughTheAPI(t *testing.T) {
	api := &apiServer{version: 1, data: map[string]string{"limiter.yaml": limiter(1)}, changed: make(chan struct{})}
	server := httptest.NewServer(api)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(strings.ReplaceAll(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: SERVER}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`, "SERVER", server.URL)), 0o600))
	s := &subject{t: t}
	s.Bramble = harness.Start(t, harness.Config{
		Files: []string{"config/local.yaml"}, Env: []string{"KUBECONFIG=" + kubeconfig},
		Overlay: harness.Set("processors::memory_limiter", "${k8sconfigmap:tracing/bramble/limiter.yaml}"),
	})
	n := s.count()
	var took []time.Duration
	for i := range 5 {
		edited := time.Now()
		api.edit("limiter.yaml", limiter(i+2))
		r := s.next(n)
		n++
		require.Equal(t, "applied", r.Outcome, r.Reason)
		harness.Poll(t, time.Minute, "the pipelines to run", func() error {
			if reply := s.Get("/ready"); reply.Status != http.StatusOK {
				return fmt.Errorf("%d", reply.Status)
			}
			// The service before the reload may have answered.
			if effective := string(s.Get("/status/config").Body); !strings.Contains(effective, fmt.Sprintf("check_interval: %ds", i+2)) {
				return errors.New("the edit is not in the effective configuration")
			}
			return nil
		})
		took = append(took, time.Since(edited).Round(time.Millisecond))
	}
	api.edit("limiter.yaml", "check_intervall: 1s")
	r := s.next(n)
	assert.Equal(t, "rejected", r.Outcome)
	assert.Contains(t, r.Reason, "check_intervall")
	api.edit("other.yaml", "")
	r = s.next(n + 1)
	assert.Equal(t, "rejected", r.Outcome)
	assert.Contains(t, r.Reason, `has no key "limiter.yaml"`)
	t.Logf("edit to effect through the API: %v", took)
}

func limiter(seconds int) string {
	return fmt.Sprintf("check_interval: %ds\nlimit_percentage: 75\nspike_limit_percentage: 15\n", seconds)
}
