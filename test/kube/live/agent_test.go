package live

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
	"github.com/bramble-tracing/bramble/test/kube/plane"
	"github.com/bramble-tracing/bramble/test/kube/rendered"
)

// patience bounds everything that happens in the background.
const patience = 3 * time.Minute

const (
	base    = "manifests/base/config/bramble.yaml"
	cluster = "manifests/components/cluster/cluster.yaml"
)

// ours is the node of the agent under test.
const ours = "node-1"

// start runs the binary with the DaemonSet's configuration as the pod bramble-x of ServiceAccount bramble on node-1.
func start(t *testing.T, p *plane.Plane, cfg harness.Config) *harness.Bramble {
	t.Helper()
	inPod(t, p, &cfg)
	return harness.Start(t, cfg)
}

func inPod(t *testing.T, p *plane.Plane, cfg *harness.Config) {
	t.Helper()
	wrap, env := p.InPod(t, rendered.Namespace, "bramble")
	cfg.Wrap = wrap
	cfg.Env = append(append(env, "KUBE_NODE_NAME="+ours, "NODE_NAME="+ours, "POD_NAME=bramble-x", "POD_NAMESPACE="+rendered.Namespace,
		"TRACE_CLUSTER_NAME=test"), cfg.Env...)
	if len(cfg.Files) == 0 {
		cfg.Files = []string{base}
	}
}

// send posts one span from a local address, with attributes of its resource, and returns the resource's attributes as the
// store has them.
func send(t *testing.T, b *harness.Bramble, from string, attributes map[string]string) map[string]string {
	t.Helper()
	id := make([]byte, 16)
	_, err := rand.Read(id)
	require.NoError(t, err)
	type value struct {
		StringValue string `json:"stringValue"`
	}
	type attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	var list []attribute
	for k, v := range attributes {
		list = append(list, attribute{k, value{v}})
	}
	list = append(list, attribute{"service.name", value{"shop"}})
	now := time.Now().UnixNano()
	body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
		"resource": map[string]any{"attributes": list},
		"scopeSpans": []any{map[string]any{"spans": []any{map[string]any{
			"traceId": hex.EncodeToString(id), "spanId": hex.EncodeToString(id[:8]), "name": "n", "kind": 1,
			"startTimeUnixNano": strconv.FormatInt(now, 10), "endTimeUnixNano": strconv.FormatInt(now+1e6, 10),
		}}}},
	}}})
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.TracesURL(), bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", text)

	out := map[string]string{}
	for _, a := range b.WaitTrace(id, 1).GetResourceSpans()[0].GetResource().GetAttributes() {
		out[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return out
}

// check is one line of /status/checks.
type check struct{ Name, State, Detail, Fix string }

// checks asks for the agent's checks of itself.
func checks(b *harness.Bramble) (map[string]check, error) {
	reply, err := b.TryGet("/status/checks?format=json")
	if err != nil {
		return nil, err
	}
	var answer struct{ Checks []check }
	if err := json.Unmarshal(reply.Body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %s", err, reply.Body)
	}
	out := map[string]check{}
	for _, c := range answer.Checks {
		out[c.Name] = c
	}
	return out, nil
}

// waitCheck waits for a check to come out as state and returns it.
func waitCheck(t *testing.T, b *harness.Bramble, name, state string) check {
	t.Helper()
	var got check
	harness.Poll(t, patience, "the check "+name+" to be "+state, func() error {
		all, err := checks(b)
		if err != nil {
			return err
		}
		if got = all[name]; got.State != state {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	return got
}
