package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/target"
)

// watchMemory notes once a second how much memory is resident, until the returned function is called, which writes the
// file. With an empty name nothing is done.
func watchMemory(srv *target.Server, name string) (stop func() error) {
	if name == "" {
		return func() error { return nil }
	}
	var out bytes.Buffer
	begin, quit, done := time.Now(), make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			u, err := srv.Usage()
			if err != nil {
				done <- err
				return
			}
			fmt.Fprintf(&out, "%.1f\t%.1f\n", time.Since(begin).Seconds(), float64(u.RSS)/(1<<20))
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() error {
		close(quit)
		if err := <-done; err != nil {
			return fmt.Errorf("watch the memory: %w", err)
		}
		return os.WriteFile(name, out.Bytes(), 0o600)
	}
}
