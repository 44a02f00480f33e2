package liveconfig

import (
	"errors"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// processKey is the guard's key in the registry of the process.
const processKey = "live configuration"

var errNoGuard = errors.New("this process does not guard its configuration")

// Register makes g the guard of the process, until release is called; then the registry closes it. The main package
// does it.
func Register(r *procstate.Registry, g *Guard) (release func() error, err error) {
	_, release, err = r.Acquire(processKey, "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: g, Close: func() error { g.Close(); return nil }}, nil
	})
	return release, err
}

// Of returns the guard of the process, or nil if there is none (another main package, a command other than run, a
// test).
func Of(r *procstate.Registry) *Guard {
	v, release, err := r.Acquire(processKey, "", func() (procstate.Opened, error) { return procstate.Opened{}, errNoGuard })
	if err != nil {
		return nil
	}
	_ = release() // The main package holds it until the process ends.
	g, _ := v.(*Guard)
	return g
}
