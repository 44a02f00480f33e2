package manifests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestBaseRuns sends a span through the DaemonSet's configuration. There is no API server: k8s_attributes passes spans on
// with the address of their connection, and everything else is as in a pod.
func TestBaseRuns(t *testing.T) {
	b := harness.Start(t, harness.Config{
		Files:   []string{"manifests/base/config/bramble.yaml"},
		Overlay: harness.Set("processors::k8s_attributes::passthrough", true),
		Env:     []string{"KUBE_NODE_NAME=n1", "TRACE_CLUSTER_NAME=c1", "TRACE_ENVIRONMENT=staging", "OTEL_RESOURCE_ATTRIBUTES=host.name=n1"},
	})
	const trace = "5b8efff798038103d269b633813fc60c"
	now := time.Now().UnixNano()
	body := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"eee19b7ec3c1b174","name":"n","kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, trace, now, now+1e6)
	sent := b.Do(http.MethodPost, b.TracesURL(), strings.NewReader(body), "Content-Type", "application/json")
	require.Equal(t, http.StatusOK, sent.Status, "%s", sent.Body)

	reply := b.Get("/api/traces/" + trace)
	require.Equal(t, http.StatusOK, reply.Status)
	var answer struct {
		Batches []struct {
			Resource struct {
				Attributes []struct {
					Key   string
					Value struct{ StringValue string }
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(reply.Body, &answer))
	require.Len(t, answer.Batches, 1)
	got := map[string]string{}
	for _, a := range answer.Batches[0].Resource.Attributes {
		got[a.Key] = a.Value.StringValue
	}
	assert.Equal(t, map[string]string{
		"service.name": "shop", "k8s.pod.ip": "127.0.0.1", "host.name": "n1", "k8s.cluster.name": "c1", "deployment.environment.name": "staging",
	}, got)
	b.Stop()
}
