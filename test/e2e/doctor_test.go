package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/test/harness"
)

// doctor runs the command of the binary with the agent's configuration and more arguments.
func doctor(t *testing.T, b *harness.Bramble, env []string, args ...string) (code int, checks map[string]selfcheck.Check) {
	t.Helper()
	if filepath.Base(filepath.Dir(harness.Binary(t))) == "plain" {
		t.Skip("what ocb makes alone has the Collector's commands only")
	}
	line := append(append([]string{"doctor", "--timeout=30s", "--wait=60s", "-o=json"}, b.Args()...), args...)
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), line...)
	cmd.Dir = b.Data
	cmd.Env = append(append(os.Environ(), "BRAMBLE_DATA_VOLUME=persistent"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var report struct {
		OK     bool
		Checks []selfcheck.Check
	}
	require.NoError(t, json.Unmarshal(out, &report), "%v: %s%s", err, out, stderr.String())
	checks = map[string]selfcheck.Check{}
	for _, c := range report.Checks {
		checks[c.Name] = c
	}
	code = cmd.ProcessState.ExitCode()
	require.Equal(t, report.OK, code == 0)
	return code, checks
}

// startPrometheus runs a Prometheus until the test ends.
func startPrometheus(t *testing.T, program, address string, write bool) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte("global: {scrape_interval: 1h}\n"), 0o600))
	args := []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address}
	if write {
		args = append(args, "--web.enable-remote-write-receiver")
	}
	cmd := exec.Command(program, args...)
	log := harness.NewLog()
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // It was killed.
		if t.Failed() {
			t.Logf("prometheus said:\n%s", log.Tail(20))
		}
	})
	harness.Poll(t, time.Minute, "Prometheus to be ready", func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/-/ready", http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// TestDoctor looks at a running agent with the built binary: nothing is wrong with it, and what is made wrong is named.
func TestDoctor(t *testing.T) {
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Env: []string{"BRAMBLE_DATA_VOLUME=persistent"}})
	code, got := doctor(t, b, nil)
	require.Zero(t, code, "%+v", got)
	for _, name := range []string{"configuration", "otlp/grpc", "otlp/http", "query", "agent", "metrics/telemetry", "metrics/prometheus", "trace", "clock/127.0.0.1"} {
		assert.Equal(t, selfcheck.OK, got[name].State, "%s: %+v", name, got[name])
	}
	dirs := 0
	for name, c := range got {
		if strings.HasPrefix(name, "directory/") {
			dirs++
			assert.Equal(t, selfcheck.OK, c.State, "%+v", c)
		}
	}
	assert.Equal(t, 1, dirs)

	overlay := func(pairs ...any) string {
		text, err := json.Marshal(harness.Set(pairs...))
		require.NoError(t, err)
		return "--config=yaml:" + string(text)
	}
	grpcPath, httpPath := "receivers::otlp::protocols::grpc::endpoint", "receivers::otlp::protocols::http::endpoint"
	unwritable := filepath.Join(t.TempDir(), "a", "b", "c")
	for name, tc := range map[string]struct {
		env   []string
		args  []string
		check string
		state selfcheck.State
		says  string
	}{
		"swapped ports": {args: []string{overlay(grpcPath, b.HTTP(), httpPath, b.GRPC())}, check: "otlp/grpc", state: selfcheck.Fail, says: "the ports are swapped"},
		"swapped ports, the other way": {
			args: []string{overlay(grpcPath, b.HTTP(), httpPath, b.GRPC())}, check: "otlp/http", state: selfcheck.Fail, says: "the ports are swapped",
		},
		"no agent":          {args: []string{overlay(httpPath, harness.FreeAddr(t))}, check: "otlp/http", state: selfcheck.Fail, says: "nobody listens there"},
		"TEMPO_URL":         {env: []string{"TEMPO_URL=http://" + b.HTTP()}, check: "query", state: selfcheck.Fail, says: "queries go to port 3200"},
		"TEMPO_URL is good": {env: []string{"TEMPO_URL=http://" + b.QueryAddr() + "/"}, check: "trace", state: selfcheck.OK, says: "read back"},
		"TEMPO_URL is none": {env: []string{"TEMPO_URL=bramble-query"}, check: "environment", state: selfcheck.Fail, says: "TEMPO_URL: must be a URL"},
		"an SDK's endpoint": {
			env:   []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + b.GRPC(), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"},
			check: "otlp/sdk", state: selfcheck.Fail, says: "speaks gRPC only",
		},
		"wrong TLS":         {env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://" + b.HTTP()}, check: "otlp/http", state: selfcheck.Fail, says: "speaks plain text, and is spoken to by TLS"},
		"missing directory": {args: []string{overlay("extensions::trace_store::directory", unwritable)}, check: "directory/" + unwritable, state: selfcheck.Fail, says: "does not exist"},
		"bad configuration": {args: []string{"--config=yaml:processors::pii::mod: x"}, check: "configuration", state: selfcheck.Fail, says: "mod"},
		"nothing of Prometheus": {
			env: []string{"PROMETHEUS_URL=http://" + b.HTTP()}, check: "prometheus/url", state: selfcheck.Fail, says: "is it Prometheus",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, got := doctor(t, b, tc.env, tc.args...)
			c, ok := got[tc.check]
			require.True(t, ok, "%+v", got)
			assert.Equal(t, tc.state, c.State, "%+v", c)
			assert.Contains(t, c.Detail+"\n"+c.Fix, tc.says)
			assert.Equal(t, tc.state == selfcheck.Fail, code == 1, "exit code %d", code)
		})
	}
	for _, args := range [][]string{{"doctor", "-o=xml"}, {"doctor", "--timeout=-1s"}, {"doctor", "--nonsense"}, {"doctor", "more"}, {"doctor", "--header=x"}, {"doctor", "--dns-server=x"}, {"doctor", "--ca-file=/none"}} {
		code, out := harness.Command(t, args...)
		assert.Equal(t, 2, code, "%v: %s", args, out)
		assert.Contains(t, out, "Error: ", args)
	}
	b.Stop()
	code, got = doctor(t, b, nil)
	assert.Equal(t, 1, code)
	assert.Equal(t, selfcheck.Fail, got["query"].State)
	assert.Equal(t, selfcheck.Skipped, got["trace"].State)
}

// TestDoctorAsksPrometheus: a real one, with and without its receiver of remote write.
func TestDoctorAsksPrometheus(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
	for on, want := range map[bool]selfcheck.State{true: selfcheck.OK, false: selfcheck.Fail} {
		t.Run(strconv.FormatBool(on), func(t *testing.T) {
			address := harness.FreeAddr(t)
			startPrometheus(t, program, address, on)
			_, got := doctor(t, b, []string{"PROMETHEUS_URL=http://" + address, "PROMETHEUS_REMOTE_WRITE_URL=http://" + address + "/api/v1/write"},
				"--config="+harness.Root(t, "config/overlays/remote-write.yaml"))
			assert.Equal(t, selfcheck.OK, got["prometheus/url"].State, "%+v", got["prometheus/url"])
			c := got["prometheus/prometheus_remote_write"]
			assert.Equal(t, want, c.State, "%+v", c)
			if !on {
				assert.Contains(t, c.Fix, "--web.enable-remote-write-receiver")
			}
		})
	}
}
