// Package target runs the binary that a benchmark measures, and reads from /proc what it costs.
package target

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Server is the process under test.
type Server struct {
	cmd *exec.Cmd
	// Ready is how long the start took.
	Ready  time.Duration
	exited chan error
}

// Start runs a binary with a configuration and a data directory, and waits until the endpoint answers. Files of a
// configuration with a + between them are merged, the later over the earlier, as several --config do.
func Start(bin, config, endpoint, dir string) (*Server, error) {
	var args []string
	for file := range strings.SplitSeq(config, "+") {
		args = append(args, "--config", file)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "BRAMBLE_DATA="+dir)
	log, err := os.CreateTemp("", "bramble-bench-*.log")
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, exited: make(chan error, 1)}
	go func() { s.exited <- cmd.Wait() }()
	for {
		conn, err := (&http.Client{Timeout: time.Second}).Get("http://" + endpoint + "/")
		if err == nil {
			conn.Body.Close()
		}
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		select {
		case err := <-s.exited:
			return nil, fmt.Errorf("%s ended before it was ready (%w): see %s", bin, err, log.Name())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(begin) > time.Minute {
			return nil, fmt.Errorf("%s is not ready after a minute: see %s", bin, log.Name())
		}
	}
	s.Ready = time.Since(begin)
	return s, nil
}

// Stop ends the server with SIGTERM and waits for it. Further calls do nothing.
func (s *Server) Stop() error {
	if s.cmd.Process == nil || s.cmd.ProcessState != nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		return err
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		return errors.New("server did not end within a minute of SIGTERM")
	}
}
