package plane

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/test/harness"
)

// startTimeout bounds the start of each part: alone on a machine they take some seconds.
const startTimeout = 5 * time.Minute

// Plane is a running control plane.
type Plane struct {
	// Admin is a configuration that may do everything.
	Admin *rest.Config
	// Client and Dynamic are clients of Admin.
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Host and Port are where kube-apiserver listens.
	Host, Port string

	dir string
}

// controllers are those that tests need; the others would only use the CPU.
const controllers = "serviceaccount-controller,root-ca-certificate-publisher-controller,namespace-controller," +
	"daemonset-controller,endpointslice-controller,disruption-controller"

// auditPolicy logs every request once, and long-running ones when they begin too.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// Start runs a control plane until the test ends, with flags for kube-apiserver beside its own. It skips the test when
// build/controlplane is not there.
func Start(t testing.TB, flags ...string) *Plane {
	t.Helper()
	binary := harness.Root(t, "build", "controlplane")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("build/controlplane is not there: `make build-kube` makes it")
	}
	p := &Plane{dir: t.TempDir(), Host: "127.0.0.1"}
	p.certificates(t)
	require.NoError(t, os.WriteFile(p.path("audit.yaml"), []byte(auditPolicy), 0o600))

	etcd, peer, api := harness.FreeAddr(t), harness.FreeAddr(t), harness.FreeAddr(t)
	var err error
	_, p.Port, err = net.SplitHostPort(api)
	require.NoError(t, err)
	p.run(t, binary, "etcd", "--name=test", "--data-dir="+p.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://"+etcd, "--advertise-client-urls=http://"+etcd,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=test=http://"+peer)
	p.run(t, binary, "kube-apiserver", append([]string{
		"--etcd-servers=http://" + etcd,
		"--bind-address=127.0.0.1", "--secure-port=" + p.Port, "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + p.path("server.crt"), "--tls-private-key-file=" + p.path("server.key"), "--client-ca-file=" + p.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + p.path("accounts.key"),
		"--service-account-signing-key-file=" + p.path("accounts.key"), "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC", "--allow-privileged=true",
		"--audit-policy-file=" + p.path("audit.yaml"), "--audit-log-path=" + p.path("audit.log"),
	}, flags...)...)

	p.Admin = &rest.Config{
		Host: "https://" + api, QPS: -1,
		// Not as files, which client-go would watch for ever.
		TLSClientConfig: rest.TLSClientConfig{CAData: p.read(t, "ca.crt"), CertData: p.read(t, "admin.crt"), KeyData: p.read(t, "admin.key")},
	}
	p.Client, err = kubernetes.NewForConfig(p.Admin)
	require.NoError(t, err)
	p.Dynamic, err = dynamic.NewForConfig(p.Admin)
	require.NoError(t, err)
	harness.Poll(t, startTimeout, "kube-apiserver to be ready", func() error {
		_, err := p.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		return err
	})
	p.writeKubeconfig(t)
	p.run(t, binary, "kube-controller-manager", "--kubeconfig="+p.Kubeconfig(), "--bind-address=127.0.0.1", "--secure-port=0",
		"--root-ca-file="+p.path("ca.crt"), "--use-service-account-credentials=false", "--leader-elect=false", "--controllers="+controllers)
	return p
}

func (p *Plane) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Plane) read(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(p.path(name))
	require.NoError(t, err)
	return text
}

// run starts a part and kills it at the end: kube-apiserver lingers after SIGTERM.
func (p *Plane) run(t testing.TB, binary, part string, args ...string) {
	t.Helper()
	log := harness.NewLog()
	cmd := exec.Command(binary, append([]string{part}, args...)...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // It is killed, or its log says why it ended.
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("%s ended by itself: %v\n%s", part, cmd.ProcessState, log.Tail(30))
		default:
			_ = cmd.Process.Kill() // It may have ended meanwhile.
			<-ended
			if t.Failed() {
				t.Logf("the last lines of %s's log:\n%s", part, log.Tail(10))
			}
		}
	})
}

// InPod returns the command line in front of an agent's that makes it find the API server as in a pod, with a token of a
// ServiceAccount at the path where pods have theirs, and the environment for it. It needs root, and Isolate: the path is in
// a mount namespace of the agent's own, and the agent looks for peers.
func (p *Plane) InPod(t testing.TB, namespace, account string) (wrap, env []string) {
	t.Helper()
	if !isolated() {
		t.Skip("not root, or unshare or ip are missing: the agent cannot be given a network and a token as in a pod")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"token": p.Token(t, namespace, account), "ca.crt": string(p.read(t, "ca.crt")), "namespace": namespace} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	const script = `set -e
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$0" /run/secrets/kubernetes.io/serviceaccount
exec "$@"`
	return []string{"unshare", "--mount", "sh", "-c", script, dir}, []string{"KUBERNETES_SERVICE_HOST=" + p.Host, "KUBERNETES_SERVICE_PORT=" + p.Port}
}

// Kubeconfig returns the path of an administrator's kubeconfig.
func (p *Plane) Kubeconfig() string { return p.path("admin.kubeconfig") }

// writeKubeconfig is for kube-controller-manager and kubectl.
func (p *Plane) writeKubeconfig(t testing.TB) {
	t.Helper()
	text := strings.NewReplacer("SERVER", p.Admin.Host, "DIR", p.dir).Replace(`
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: SERVER, certificate-authority: DIR/ca.crt}}]
users: [{name: u, user: {client-certificate: DIR/admin.crt, client-key: DIR/admin.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`)
	require.NoError(t, os.WriteFile(p.Kubeconfig(), []byte(text), 0o600))
}
