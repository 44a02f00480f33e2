package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/bench/internal/mixed"
	"github.com/bramble-tracing/bramble/bench/internal/target"
)

// concurrent measures the latency of queries by many clients while spans arrive.
func concurrent(o options, dir string) error {
	srv, err := target.Start(o.bin, o.config, o.endpoint, dir)
	if err != nil {
		return err
	}
	defer func() { _ = srv.Stop() }()
	before, err := srv.Usage()
	if err != nil {
		return err
	}
	r, err := mixed.Run(context.Background(), mixed.Options{
		OTLP: o.endpoint, Query: strings.TrimPrefix(o.query, "http://"), Clients: o.clients, Rate: o.rate, Think: o.think, Duration: o.duration,
	})
	if err != nil {
		return err
	}
	after, err := srv.Usage()
	if err != nil {
		return err
	}
	fmt.Printf("%d clients, %s between questions\n", o.clients, o.think)
	r.Print(os.Stdout)
	fmt.Printf("server: %.1f CPU-s in %.0f s, peak resident %d MiB\n", (after.CPU - before.CPU).Seconds(), r.Elapsed.Round(time.Second).Seconds(), after.Peak>>20)
	if r.Failures > 0 {
		return fmt.Errorf("%d answers were wrong or failed", r.Failures)
	}
	return srv.Stop()
}
