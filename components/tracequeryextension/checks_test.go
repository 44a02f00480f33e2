package tracequeryextension

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// TestReadyVerbose: /ready says what H-01 asks for whatever checks say, and ?verbose adds them with the same status.
func TestReadyVerbose(t *testing.T) {
	e := start(t, someTrace(t), nil)
	c := client(t, http1, nil)
	a := get(t, c, e.url("/ready?verbose"))
	require.Equal(t, http.StatusServiceUnavailable, a.code, "not ready yet")
	require.Contains(t, a.body, "not ready: the pipelines are starting\nfail    pipelines")

	require.NoError(t, e.Ready())
	other, err := selfcheck.Join("kubernetes_check")
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Leave()) }()
	other.Report(selfcheck.Check{Name: "kubernetes/rights/pods", State: selfcheck.Fail, Detail: "may not list pods", Fix: "add the rule"})

	a = get(t, c, e.url("/ready"))
	require.Equal(t, http.StatusOK, a.code)
	require.Equal(t, "ready\n", a.body)
	const want = "fail    kubernetes/rights/pods  may not list pods\n                                to do: add the rule\nok      pipelines               they run\n"
	for _, query := range []string{"?verbose", "?verbose=1", "?verbose=true&x=y"} {
		a = get(t, c, e.url("/ready"+query))
		require.Equal(t, http.StatusOK, a.code)
		require.Equal(t, "ready\n"+want, a.body)
		require.Contains(t, a.header.Get("Content-Type"), "text/plain")
	}
	require.Equal(t, want, get(t, c, e.url("/status/checks")).body)
	require.Contains(t, get(t, c, e.url("/status")).body, "CHECKS\n"+want)

	a = get(t, c, e.url("/ready?verbose&format=json"))
	var answer struct {
		Ready, Worst string
		Checks       []selfcheck.Check
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &answer))
	require.Equal(t, "ready", answer.Ready)
	require.Equal(t, "fail", answer.Worst)
	require.Len(t, answer.Checks, 2)
	require.Equal(t, http.StatusBadRequest, get(t, c, e.url("/status/checks?format=xml")).code)

	require.NoError(t, e.NotReady())
	a = get(t, c, e.url("/ready?verbose"))
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Contains(t, a.body, "not ready: shutting down\n")
}

// TestVerboseIsBehindAuthentication: probes need no credentials, and what is told about the cluster does.
func TestVerboseIsBehindAuthentication(t *testing.T) {
	e := start(t, someTrace(t), func(c *Config) {
		c.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: authID}})
	})
	require.NoError(t, e.Ready())
	c := client(t, http1, nil)
	require.Equal(t, http.StatusOK, get(t, c, e.url("/ready")).code)
	require.Equal(t, http.StatusUnauthorized, get(t, c, e.url("/ready?verbose")).code)
	require.Equal(t, http.StatusUnauthorized, get(t, c, e.url("/status/checks")).code)
	a := get(t, c, e.url("/ready?verbose"), "Authorization", "Bearer letmein")
	require.Equal(t, http.StatusOK, a.code)
	require.Contains(t, a.body, "pipelines")
}
