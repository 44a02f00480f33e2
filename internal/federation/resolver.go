package federation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Endpoint is where an agent listens for others.
type Endpoint struct {
	Address string // host:port
	// Node is the name of the agent's node if it is known before the agent answers.
	Node string
}

// Resolver finds agents.
type Resolver interface {
	// Run calls update with all endpoints, at first and after each change, until ctx ends. It calls failed when it cannot
	// say, and goes on; the last endpoints then stay.
	Run(ctx context.Context, update func([]Endpoint), failed func(error))
}

// Static is a fixed list of host:port.
type Static []string

// Run implements Resolver.
func (s Static) Run(ctx context.Context, update func([]Endpoint), _ func(error)) {
	out := make([]Endpoint, len(s))
	for i, a := range s {
		out[i] = Endpoint{Address: a}
	}
	update(out)
	<-ctx.Done()
}

// DNS resolves a name with an address for each agent, such as that of a headless Service.
type DNS struct {
	Hostname string
	Port     string
	// Interval is the time between lookups.
	Interval time.Duration
	// Lookup is net.Resolver.LookupHost; nil means the default resolver's.
	Lookup func(ctx context.Context, host string) ([]string, error)
}

// Run implements Resolver.
func (d *DNS) Run(ctx context.Context, update func([]Endpoint), failed func(error)) {
	lookup := d.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	var last []string
	tick := time.NewTicker(d.Interval)
	defer tick.Stop()
	for first := true; ; first = false {
		addrs, err := lookup(ctx, d.Hostname)
		slices.Sort(addrs)
		addrs = slices.Compact(addrs)
		switch notFound := (&net.DNSError{}); {
		case ctx.Err() != nil:
			return
		case errors.As(err, &notFound) && notFound.IsNotFound:
			// A headless Service without ready pods has no addresses.
			if err := fmt.Errorf("look up peers: %w", err); first {
				failed(err)
			}
		case err != nil:
			failed(fmt.Errorf("look up peers: %w", err))
		case first || !slices.Equal(addrs, last):
			last = addrs
			out := make([]Endpoint, len(addrs))
			for i, a := range addrs {
				out[i] = Endpoint{Address: net.JoinHostPort(a, d.Port)}
			}
			update(out)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
