package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// Options say what to look at and how.
type Options struct {
	Targets Targets
	// Timeout is how long one check may take; Wait how long the test trace may take until it can be read.
	Timeout, Wait time.Duration
	// Skip lists names of checks, or the first parts of names, that are left out.
	Skip []string
	// DNSServer is host:port of the server that names are asked of; empty for the system's way.
	DNSServer string
	// TLS is for all targets that are reached by TLS.
	TLS TLS
	// Headers are sent with spans and queries, such as Authorization.
	Headers map[string]string
	// Now is the clock that others are compared with; by default time.Now.
	Now func() time.Time
}

// doctor is one run.
type doctor struct {
	Options
	net *network

	mu     sync.Mutex
	clocks []clock
	// gone are the names that do not resolve; written before anything else runs.
	gone map[string]bool
	// sends are the protocols by which spans can be sent, query whether the query port answers.
	sends map[string]bool
	query bool
}

// job is a check that is still to be made. It may return several.
type job struct {
	name string
	run  func(context.Context) []selfcheck.Check
}

// Run makes all checks and returns them in a fixed order.
func Run(ctx context.Context, o Options) ([]selfcheck.Check, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	n, err := newNetwork(o.DNSServer, o.TLS, o.Timeout)
	if err != nil {
		return nil, err
	}
	d := &doctor{Options: o, net: n, gone: map[string]bool{}, sends: map[string]bool{}}
	var out []selfcheck.Check
	for _, stage := range []func() []job{d.names, d.reach, d.trace, d.compareClocks} {
		out = append(out, d.stage(ctx, stage())...)
	}
	return out, nil
}

// stage runs jobs at the same time.
func (d *doctor) stage(ctx context.Context, jobs []job) []selfcheck.Check {
	results := make([][]selfcheck.Check, len(jobs))
	var wg sync.WaitGroup
	for i, j := range jobs {
		if reason := d.left(j.name); reason != "" {
			results[i] = []selfcheck.Check{{Name: j.name, State: selfcheck.Skipped, Detail: reason}}
			continue
		}
		wg.Go(func() { results[i] = timed(ctx, j) })
	}
	wg.Wait()
	return slices.Concat(results...)
}

// left says why a check is left out.
func (d *doctor) left(name string) string {
	for _, s := range d.Skip {
		if name == s || strings.HasPrefix(name, s+"/") {
			return "left out by --skip=" + s
		}
	}
	return ""
}

// timed runs a job. A mistake of ours must not hide what the other checks have found.
func timed(ctx context.Context, j job) (out []selfcheck.Check) {
	started := time.Now()
	defer func() {
		if p := recover(); p != nil {
			out = []selfcheck.Check{{Name: j.name, State: selfcheck.Fail, Detail: fmt.Sprintf("the check itself went wrong: %v", p), Fix: "please report this"}}
		}
		for i := range out {
			if out[i].Took == 0 {
				out[i].Took = time.Since(started)
			}
		}
	}()
	return j.run(ctx)
}

// one makes a job of a single check.
func one(name string, run func(ctx context.Context, c *selfcheck.Check)) job {
	return job{name: name, run: func(ctx context.Context) []selfcheck.Check {
		c := selfcheck.Check{Name: name, State: selfcheck.OK}
		run(ctx, &c)
		return []selfcheck.Check{c}
	}}
}

// reach is everything that can be looked at by itself.
func (d *doctor) reach() []job {
	t := &d.Targets
	jobs := []job{d.otlp(protocolGRPC, t.GRPC), d.otlp(protocolHTTP, t.HTTP)}
	if t.SDK != nil {
		jobs = append(jobs, d.sdk(*t.SDK))
	}
	jobs = append(jobs, d.queryAPI(t.Query))
	for _, e := range t.Forward {
		jobs = append(jobs, d.forward(e))
	}
	for _, e := range t.Metrics {
		jobs = append(jobs, d.local(e.Name, d.scrape(e)))
	}
	for _, e := range t.Prometheus {
		jobs = append(jobs, d.prometheus(e))
	}
	for _, e := range t.Peers {
		jobs = append(jobs, d.local(e.Name, d.peer(e)))
	}
	for _, dir := range t.Directories {
		jobs = append(jobs, d.local("directory/"+dir.Path, directory(dir)))
	}
	return append(jobs, d.kubernetes())
}

// local skips what is only there where the agent runs.
func (d *doctor) local(name string, j job) job {
	if d.Targets.Remote == "" {
		return j
	}
	return one(name, func(_ context.Context, c *selfcheck.Check) {
		c.State, c.Detail = selfcheck.Skipped, "it is where the agent is, and that is elsewhere: "+d.Targets.Remote
	})
}

// kubernetes asks the API server, with the rights of whoever runs the doctor.
func (d *doctor) kubernetes() job {
	return job{name: "kubernetes", run: func(ctx context.Context) []selfcheck.Check {
		d.apiServerClock(ctx)
		checker := kubecheck.Checker{Timeout: d.Timeout}
		return slices.DeleteFunc(checker.Run(ctx, d.Targets.Kubernetes), func(c selfcheck.Check) bool { return d.left(c.Name) != "" })
	}}
}
