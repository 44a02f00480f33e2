package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/bramble-tracing/bramble/internal/kubecheck"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// clock is the difference to the time in an answer: theirs minus ours. The header Date counts seconds, and the answer was
// on its way: both are in the error.
type clock struct {
	of           string
	skew, within time.Duration
}

const (
	// skewWarn and skewFail are differences of clocks that are worth a warning, since durations across nodes look wrong,
	// and that make spans fall out of time ranges.
	skewWarn, skewFail = 5 * time.Second, time.Minute
)

// note compares clocks by an answer. Of several from one host that which differs most counts.
func (d *doctor) note(host string, h http.Header, sent, received time.Time) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	middle := sent.Add(received.Sub(sent) / 2)
	c := clock{of: host, skew: theirs.Add(time.Second / 2).Sub(middle), within: time.Second/2 + received.Sub(sent)/2}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.clocks {
		if o := &d.clocks[i]; o.of == host {
			if c.off() > o.off() {
				*o = c
			}
			return
		}
	}
	d.clocks = append(d.clocks, c)
}

// compareClocks makes a check of each clock that was seen.
func (d *doctor) compareClocks() []job {
	var jobs []job
	slices.SortFunc(d.clocks, func(a, b clock) int { return strings.Compare(a.of, b.of) })
	for _, k := range d.clocks {
		jobs = append(jobs, one("clock/"+k.of, func(_ context.Context, c *selfcheck.Check) { k.judge(c) }))
	}
	if len(jobs) == 0 {
		jobs = append(jobs, one("clock", func(_ context.Context, c *selfcheck.Check) {
			c.State, c.Detail = selfcheck.Skipped, "no answer had the time in it"
		}))
	}
	return jobs
}

// off is by how much the clocks differ at least.
func (k *clock) off() time.Duration { return max(k.skew.Abs()-k.within, 0) }

func (k *clock) judge(c *selfcheck.Check) {
	off := k.off()
	direction := "ahead of"
	if k.skew < 0 {
		direction = "behind"
	}
	c.Detail = fmt.Sprintf("its clock is within %s of this one", max(k.skew.Abs(), k.within).Round(100*time.Millisecond))
	if off < skewWarn {
		return
	}
	c.State = selfcheck.Warn
	if off >= skewFail {
		c.State = selfcheck.Fail
	}
	c.Detail = fmt.Sprintf("its clock is %s %s this one", k.skew.Abs().Round(time.Second), direction)
	c.Fix = "let both machines take their time from NTP (timedatectl, chronyc tracking): spans of machines whose clocks differ look as if they began before their parents, and fall out of the time ranges of searches"
}

// apiServerClock asks the API server for its version, which everybody may, because of the time in the answer.
func (d *doctor) apiServerClock(ctx context.Context) {
	if d.Targets.Kubernetes.Empty() {
		return
	}
	conf, err := kubecheck.Config()
	if err != nil {
		return // The check of the API server says so.
	}
	client, err := rest.HTTPClientFor(conf)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conf.Host+"/version", http.NoBody)
	if err != nil {
		return
	}
	sent := d.Now()
	res, err := client.Do(req)
	if err != nil {
		return
	}
	_ = res.Body.Close() // Only the header counts.
	d.note("api-server", res.Header, sent, d.Now())
	client.CloseIdleConnections()
}
