package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// startTimeout bounds a start: a busy machine with two cores needs a few seconds.
	startTimeout = 60 * time.Second
	// stopTimeout bounds a stop by SIGTERM.
	stopTimeout = 30 * time.Second
	// running is the line with which the Collector says that all components have started.
	running = "Everything is ready. Begin running and processing data."
	// portTaken is in the log when another process was quicker to listen on a port.
	portTaken = "address already in use"
)

// Config says how to run the binary.
type Config struct {
	// Files are the --config arguments in order: paths, relative ones below the repository's root, or "yaml:" and a
	// document.
	Files []string
	// Overlay is merged over the files, and over what the harness itself changes in them. See Set.
	Overlay map[string]any
	// Env is added to the environment, as NAME=value.
	Env []string
	// Data is the directory for what the process writes. By default it is a new directory of the test.
	Data string
	// ReadyByLog waits for the log to say that everything is ready instead of asking the query port, which may want TLS.
	ReadyByLog bool
	// Host is the address that listeners are on, 127.0.0.1 by default. Wrap must make it one of the process's.
	Host string
	// Wrap is put in front of the binary's command line, for example to limit its resources.
	Wrap []string
}

// Bramble is one data directory and one set of ports with a process, or none after Stop and Kill.
type Bramble struct {
	// Data is the directory below which the process keeps what it writes.
	Data string
	// Log is what the processes wrote, the ones before a restart included.
	Log *Log
	// ReadyAfter is the time from the start of the last process until it was ready.
	ReadyAfter time.Duration

	tb     testing.TB
	cfg    Config
	addrs  map[string]string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	err    error         // of Wait; written before exited is closed

	readyAt time.Time
}

// Root returns the repository's root, or a path below it.
func Root(tb testing.TB, elem ...string) string {
	tb.Helper()
	dir, err := os.Getwd()
	require.NoError(tb, err)
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // A path of the repository.
		if err == nil && strings.HasPrefix(string(mod), "module github.com/bramble-tracing/bramble\n") {
			return filepath.Join(append([]string{dir}, elem...)...)
		}
		up := filepath.Dir(dir)
		require.NotEqual(tb, dir, up, "the repository's go.mod is above no directory of the test")
		dir = up
	}
}

// Binary returns the path of the binary under test, and ends the test when there is none.
func Binary(tb testing.TB) string {
	tb.Helper()
	bin := os.Getenv("BRAMBLE_BIN")
	if bin == "" {
		bin = Root(tb, "bin", "bramble")
	}
	if _, err := os.Stat(bin); err != nil {
		tb.Fatalf("the binary under test is missing: run `make build`, or set BRAMBLE_BIN: %v", err)
	}
	bin, err := filepath.Abs(bin)
	require.NoError(tb, err)
	return bin
}

// Start runs the binary and returns when it is ready: when /ready of its query port answers 200 or, in configurations
// without one, when the log says so. The test's cleanup kills it.
func Start(tb testing.TB, cfg Config) *Bramble {
	tb.Helper()
	for range 3 {
		b := prepare(tb, cfg)
		err := b.start()
		if err == nil {
			return b
		}
		if !strings.Contains(b.Log.String(), portTaken) {
			tb.Fatalf("start bramble: %v\n%s", err, b.Log.Tail(40))
		}
	}
	tb.Fatal("start bramble: its ports were taken three times")
	return nil
}

// Run runs the binary with a configuration that is expected to fail, and returns its exit code and output. A process
// that starts instead ends the test.
func Run(tb testing.TB, cfg Config) (code int, output string) {
	tb.Helper()
	b := prepare(tb, cfg)
	if err := b.start(); err == nil {
		tb.Fatalf("bramble was expected to end with an error, but it started\n%s", b.Log.Tail(40))
	}
	select {
	case <-b.exited:
	case <-time.After(stopTimeout):
		tb.Fatalf("bramble was expected to end with an error, but it runs on\n%s", b.Log.Tail(40))
	}
	return b.cmd.ProcessState.ExitCode(), b.Log.String()
}

// Command runs the binary with arguments, such as validate, and returns its exit code and output.
func Command(tb testing.TB, args ...string) (code int, output string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(tb), args...) //nolint:gosec // The binary under test.
	cmd.Dir = tb.TempDir()
	out, err := cmd.CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		tb.Fatalf("run bramble %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func prepare(tb testing.TB, cfg Config) *Bramble {
	tb.Helper()
	b := &Bramble{tb: tb, cfg: cfg, Data: cfg.Data, Log: NewLog()}
	if b.Data == "" {
		b.Data = tb.TempDir()
	}
	var files []string
	for _, f := range cfg.Files {
		if !strings.HasPrefix(f, "yaml:") && !filepath.IsAbs(f) {
			f = Root(tb, f)
		}
		files = append(files, f)
	}
	l := newLayout(tb, files, b.Data, cmp.Or(cfg.Host, "127.0.0.1"))
	b.addrs = l.addrs
	for _, f := range append(files, l.argument(tb, cfg.Overlay)) {
		b.args = append(b.args, "--config", f)
	}
	tb.Cleanup(func() {
		b.Kill()
		if tb.Failed() {
			tb.Logf("the last lines of bramble's log:\n%s", b.Log.Tail(30))
		}
	})
	return b
}

// start runs a process and waits until it is ready or has ended.
func (b *Bramble) start() error {
	started, seen := time.Now(), len(b.Log.String())
	if err := b.spawn(); err != nil {
		return err
	}
	err := poll(b.tb.Context(), startTimeout, func() error {
		if !b.Running() {
			return nil
		}
		return b.ready(seen)
	})
	b.readyAt = time.Now()
	b.ReadyAfter = b.readyAt.Sub(started)
	if !b.Running() {
		return fmt.Errorf("the process ended before it was ready: %w", cmp.Or(b.err, errors.New("with exit code 0")))
	}
	return err
}

// spawn runs a process.
func (b *Bramble) spawn() error {
	line := append(append(append([]string{}, b.cfg.Wrap...), Binary(b.tb)), b.args...)
	cmd := exec.Command(line[0], line[1:]...) //nolint:gosec // The binary under test.
	cmd.Dir = b.Data
	cmd.Env = append(os.Environ(), b.cfg.Env...)
	cmd.Stdout, cmd.Stderr = b.Log, b.Log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", line[0], err)
	}
	exited := make(chan struct{})
	b.cmd, b.exited = cmd, exited
	go func() {
		b.err = cmd.Wait()
		close(exited)
	}()
	return nil
}

func (b *Bramble) ready(seen int) error {
	addr, ok := b.addrs["extensions::trace_query"]
	if !ok || b.cfg.ReadyByLog {
		if !strings.Contains(b.Log.String()[seen:], running) {
			return errors.New("the log does not say that everything is ready")
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(b.tb.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/ready", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /ready: %s", res.Status)
	}
	return nil
}

// Addr returns host:port of the listener with the path, such as "receivers::otlp::protocols::grpc".
func (b *Bramble) Addr(path string) string {
	b.tb.Helper()
	addr, ok := b.addrs[path]
	if !ok {
		b.tb.Fatalf("the configuration has no listener %s", path)
	}
	return addr
}

// GRPC returns host:port of OTLP over gRPC.
func (b *Bramble) GRPC() string { b.tb.Helper(); return b.Addr("receivers::otlp::protocols::grpc") }

// HTTP returns host:port of OTLP over HTTP.
func (b *Bramble) HTTP() string { b.tb.Helper(); return b.Addr("receivers::otlp::protocols::http") }

// TracesURL returns where OTLP over HTTP is posted to.
func (b *Bramble) TracesURL() string { b.tb.Helper(); return "http://" + b.HTTP() + "/v1/traces" }

// QueryAddr returns host:port of the query API.
func (b *Bramble) QueryAddr() string { b.tb.Helper(); return b.Addr("extensions::trace_query") }

// PID returns the id of the process.
func (b *Bramble) PID() int { return b.cmd.Process.Pid }

// Running reports whether the process lives.
func (b *Bramble) Running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Signal sends sig to the process.
func (b *Bramble) Signal(sig os.Signal) {
	b.tb.Helper()
	require.NoError(b.tb, b.cmd.Process.Signal(sig))
}

// Stop ends the process by SIGTERM, as Kubernetes and Ctrl-C do, and waits for it. Any other exit code than 0 fails the
// test.
func (b *Bramble) Stop() {
	b.tb.Helper()
	early := time.Since(b.readyAt) < time.Second
	b.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(stopTimeout):
		b.tb.Fatalf("bramble did not end within %s of SIGTERM\n%s", stopTimeout, b.Log.Tail(40))
	}
	// The Collector listens to signals only after all components have started, so for a moment after it is ready the
	// kernel's default action ends it.
	if st, ok := b.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() && st.Signal() == syscall.SIGTERM && early {
		b.tb.Log("bramble was stopped so soon after its start that SIGTERM killed it")
		return
	}
	require.NoError(b.tb, b.err, "bramble's end after SIGTERM\n%s", b.Log.Tail(40))
}

// Kill ends the process by SIGKILL, if it lives, and waits for it.
func (b *Bramble) Kill() {
	if b.cmd == nil || !b.Running() {
		return
	}
	_ = b.cmd.Process.Kill() // It may have ended meanwhile.
	<-b.exited
}

// Restart starts a process on the same data and ports after Stop or Kill, and waits until it is ready.
func (b *Bramble) Restart() {
	b.tb.Helper()
	require.False(b.tb, b.Running(), "Restart without Stop or Kill")
	if err := b.start(); err != nil {
		b.tb.Fatalf("start bramble again: %v\n%s", err, b.Log.Tail(40))
	}
}

// KillWithin starts a process after Stop or Kill and kills it when the time is over, ready or not. A process that ends
// by itself before that fails the test.
func (b *Bramble) KillWithin(d time.Duration) {
	b.tb.Helper()
	require.False(b.tb, b.Running(), "KillWithin without Stop or Kill")
	require.NoError(b.tb, b.spawn())
	select {
	case <-b.exited:
		b.tb.Fatalf("bramble ended by itself: %v\n%s", b.err, b.Log.Tail(40))
	case <-time.After(d):
	}
	b.Kill()
}

// Args returns the --config arguments that the process is run with.
func (b *Bramble) Args() []string { return append([]string(nil), b.args...) }
