package liveconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// childTimeout ends a check that hangs, for instance in a component that looks something up while it is created.
	childTimeout = 30 * time.Second
	// ChildHeadroom is how much memory, in bytes, the container must have left for a check in a child process.
	ChildHeadroom = 150 << 20
	// childMemory is Go's memory limit of the child.
	childMemory = "128MiB"
	// childErrorBytes is how much of a child's error output is told.
	childErrorBytes = 2000
)

// Child checks candidates in a child process of the running program: `PROGRAM config check --json …`. What a bad
// candidate does to the process that tries it is then not done to this one.
type Child struct {
	// Program is the path of the executable.
	Program string
	// Args are the command line's flags that name the configuration (--config, --set, --feature-gates).
	Args []string
	// Light judges without a child, when there is no memory for one. May be nil: then such candidates are accepted unjudged.
	Light Checker
	// Headroom returns the bytes left until the container's limit; ok is false if there is none. The default asks the cgroup.
	Headroom func() (left int64, ok bool)
}

// Check implements Checker.
func (c *Child) Check(ctx context.Context) (Verdict, error) {
	headroom := c.Headroom
	if headroom == nil {
		headroom = cgroupHeadroom
	}
	if left, ok := headroom(); ok && left < ChildHeadroom {
		skipped := fmt.Sprintf("components were not created: the container has %d MiB of memory left, %d are needed", left>>20, ChildHeadroom>>20)
		if c.Light == nil {
			return Verdict{OK: true, Skipped: skipped}, nil
		}
		v, err := c.Light.Check(ctx)
		v.Skipped = skipped
		return v, err
	}
	return c.run(ctx)
}

func (c *Child) run(ctx context.Context) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, childTimeout)
	defer cancel()
	args := append([]string{"config", "check", "--json", "--running-pid", strconv.Itoa(os.Getpid())}, c.Args...)
	cmd := exec.CommandContext(ctx, c.Program, args...) //nolint:gosec // The program is this one, with its own flags.
	cmd.Env = append(os.Environ(), "GOMEMLIMIT="+childMemory)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var v Verdict
	if jsonErr := DecodeJSON(lastLine(out.Bytes()), &v); jsonErr == nil && (v.OK || v.Reason != "") {
		return v, nil
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Verdict{Reason: fmt.Sprintf("the check did not end within %s", childTimeout)}, nil
	case errors.As(err, &exit) && exit.Exited() && exit.ExitCode() == 2:
		// A panic: the candidate is to blame.
		return Verdict{Reason: "the check crashed: " + head(errOut.String())}, nil
	case err == nil:
		err = errors.New("it gave no verdict")
	}
	return Verdict{}, fmt.Errorf("check in a child process: %w: %s", err, head(errOut.String()))
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}

func head(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > childErrorBytes {
		s = s[:childErrorBytes] + "…"
	}
	return s
}
