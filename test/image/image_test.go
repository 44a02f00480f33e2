package image

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hardened are the options of podman that a pod of manifests/base comes to. There is no network but loopback.
var hardened = []string{
	"--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--network", "none",
	"--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt", "no-new-privileges", "--memory", memory,
}

// memory is the limit of containers, in bytes.
const memory = "268435456"

// command runs a program and returns what it wrote.
func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput() //nolint:gosec // Programs of the test.
	return string(out), err
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(t, name, args...)
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return strings.TrimSpace(out)
}

// image builds the image of the binary under test and returns its name.
func image(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root: containers cannot be run here")
	}
	for _, program := range []string{"buildah", "podman", "runc", "nsenter", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(certificates); err != nil {
		t.Skipf("there are no certificates to put in: %v", err)
	}
	dir := t.TempDir()
	must(t, "cp", harness.Binary(t), filepath.Join(dir, "bramble-"+runtime.GOARCH))
	must(t, "cp", certificates, filepath.Join(dir, "ca-certificates.crt"))
	name := "localhost/bramble-test:" + randomHex(t, 4)
	must(t, harness.Root(t, "tools", "image.sh"), dir, name, runtime.GOARCH)
	t.Cleanup(func() { _, _ = exec.Command("podman", "rmi", "--force", name).CombinedOutput() }) //nolint:gosec,noctx // After the test's context.
	return name
}

func randomHex(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// container is a running one, whose loopback is reached by entering its network.
type container struct{ id, pid string }

func (c container) curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return command(t, "nsenter", append([]string{"-t", c.pid, "-n", "curl", "-sS", "--fail-with-body", "-m", "30"}, args...)...)
}

// run starts the image, hardened, with a directory for data, and waits until it is ready.
func run(t *testing.T, name, data string) container {
	t.Helper()
	args := append([]string{"run", "--detach"}, hardened...)
	args = append(args, "--volume", data+":/var/lib/bramble", "--volume", harness.Root(t, "config", "local.yaml")+":/etc/bramble/bramble.yaml:ro", name)
	lines := strings.Split(must(t, "podman", args...), "\n")
	c := container{id: lines[len(lines)-1]}
	t.Cleanup(func() { _, _ = exec.Command("podman", "rm", "--force", c.id).CombinedOutput() }) //nolint:gosec,noctx // After the test's context.
	c.pid = must(t, "podman", "inspect", "--format", "{{.State.Pid}}", c.id)
	harness.Poll(t, 2*time.Minute, "the container to be ready", func() error {
		out, err := c.curl(t, "http://localhost:3200/ready")
		if err != nil {
			logs, _ := command(t, "podman", "logs", "--tail", "20", c.id)
			return fmt.Errorf("%w: %s\n%s", err, out, logs)
		}
		if out != "ready\n" {
			return errors.New(out)
		}
		return nil
	})
	return c
}

// TestHardened stores a span, asks for it, stops in time, and asks a second container on the same directory.
func TestHardened(t *testing.T) {
	name := image(t)
	parent := t.TempDir()
	for _, dir := range []string{filepath.Dir(parent), parent} {
		require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // The container's user has to pass.
	}
	data := filepath.Join(parent, "data")
	require.NoError(t, os.Mkdir(data, 0o755)) //nolint:gosec // As the kubelet makes it: root's.

	// As the init container of manifests/components/hostpath.
	args := append(append([]string{"run", "--rm"}, hardened...), "--user", "0:0", "--cap-add", "CHOWN,FOWNER", "--volume", data+":/var/lib/bramble", name)
	assert.Contains(t, must(t, "podman", append(args, "prepare-directory", "/var/lib/bramble")...), "belongs to 65532:65532 now")

	c := run(t, name, data)
	status, err := os.ReadFile("/proc/" + c.pid + "/status")
	require.NoError(t, err)
	for _, want := range []string{"Uid:\t65532\t", "Gid:\t65532\t", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		assert.Contains(t, string(status), want)
	}
	assert.True(t, c.rootIsReadOnly(t))
	assert.Equal(t, memory, c.memoryLimit(t))
	c.load(t)
	trace := randomHex(t, 16)
	now := time.Now().UnixNano()
	out, err := c.curl(t, "http://localhost:4318/v1/traces", "-H", "Content-Type: application/json", "-d", fmt.Sprintf(
		`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"in-a-container"}}]},
		"scopeSpans":[{"spans":[{"traceId":%q,"spanId":%q,"name":"hardened","kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`,
		trace, randomHex(t, 8), now, now+1e6))
	require.NoError(t, err, out)
	out, err = c.curl(t, "http://localhost:3200/api/traces/"+trace)
	require.NoError(t, err, out)
	assert.Contains(t, out, "in-a-container")

	// As `kubectl exec` does: there is no shell, and none is needed.
	report, err := command(t, "podman", "exec", c.id, "/bramble", "doctor", "--config=/etc/bramble/bramble.yaml", "--timeout=60s", "--wait=60s")
	require.NoError(t, err, report)
	for _, want := range []string{"ok      otlp/grpc", "ok      otlp/http", "ok      directory//var/lib/bramble", "ok      trace ", " 0 failures"} {
		assert.Contains(t, report, want)
	}

	// terminationGracePeriodSeconds of the DaemonSet is 60; then podman kills, and the code is 137.
	started := time.Now()
	must(t, "podman", "stop", "--time", "60", c.id)
	t.Logf("stopped after %s", time.Since(started).Round(time.Millisecond))
	assert.Equal(t, "0 false", must(t, "podman", "inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", c.id))

	again := run(t, name, data)
	out, err = again.curl(t, "http://localhost:3200/api/traces/"+trace)
	require.NoError(t, err, out)
	assert.Contains(t, out, "in-a-container")
}

// TestManifestList: several architectures become one list, in which each has its own binary. What a registry would be given
// is written as an OCI layout.
func TestManifestList(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: images cannot be built here")
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not installed")
	}
	dir, layout := t.TempDir(), filepath.Join(t.TempDir(), "layout")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca-certificates.crt"), []byte("none"), 0o600))
	arches := []string{"amd64", "arm64"}
	for _, arch := range arches {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bramble-"+arch), []byte("for "+arch), 0o600))
	}
	name := "localhost/bramble-list:" + randomHex(t, 4)
	t.Cleanup(func() { _, _ = exec.Command("buildah", "manifest", "rm", name).CombinedOutput() }) //nolint:gosec,noctx // After the test's context.
	must(t, harness.Root(t, "tools", "image.sh"), append([]string{dir, name}, arches...)...)
	must(t, harness.Root(t, "tools", "image.sh"), append([]string{dir, name}, arches...)...) // Again: nothing is in the list twice.
	must(t, "buildah", "manifest", "push", "--all", name, "oci:"+layout+":v1")

	type descriptor struct {
		Digest   string
		Platform struct{ Architecture, OS string }
	}
	read := func(digest string, v any) {
		text, err := os.ReadFile(filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, v))
	}
	var top, list struct{ Manifests []descriptor }
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &top))
	require.Len(t, top.Manifests, 1)
	read(top.Manifests[0].Digest, &list)
	var got, layers []string
	for _, m := range list.Manifests {
		var image struct {
			Config descriptor
			Layers []descriptor
		}
		read(m.Digest, &image)
		var config struct {
			Architecture, OS string
			Config           struct {
				User       string
				Entrypoint []string
			}
		}
		read(image.Config.Digest, &config)
		assert.Equal(t, m.Platform.Architecture, config.Architecture)
		assert.Equal(t, "65532:65532", config.Config.User)
		assert.Equal(t, []string{"/bramble"}, config.Config.Entrypoint)
		got = append(got, m.Platform.OS+"/"+m.Platform.Architecture)
		layers = append(layers, image.Layers[len(image.Layers)-1].Digest)
	}
	assert.ElementsMatch(t, []string{"linux/amd64", "linux/arm64"}, got)
	assert.NotEqual(t, layers[0], layers[1], "each has its own binary")
}
