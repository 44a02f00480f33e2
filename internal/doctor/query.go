package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// queryAPI asks the query port whether it is one, and is ready, and what the agent says of itself.
func (d *doctor) queryAPI(e *Endpoint) job {
	return job{name: "query", run: func(ctx context.Context) []selfcheck.Check {
		c := selfcheck.Check{Name: "query", State: selfcheck.OK}
		if e == nil {
			c.State, c.Detail = selfcheck.Skipped, "no query port is configured"
			return []selfcheck.Check{c}
		}
		if d.unresolved(e, &c) {
			return []selfcheck.Check{c}
		}
		echo, err := d.get(ctx, e, e.Prefix+"/api/echo")
		answer, answered := errors.AsType[*answerError](err)
		switch {
		case answered && (answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden):
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) wants credentials: %v", e.URL(""), e.From, err)
			c.Fix = "give them by --header, such as --header 'Authorization=Bearer TOKEN'"
		case answered || err == nil && strings.TrimSpace(string(echo)) != "echo":
			d.otherPort(ctx, e, answer, &c)
		case err != nil:
			d.net.explain(ctx, e, protocolHTTP, err, &c)
		default:
			d.readiness(ctx, e, &c)
		}
		return append([]selfcheck.Check{c}, d.agent(ctx, e, c.State)...)
	}}
}

// otherPort says what an address is that speaks HTTP and is no query port.
func (d *doctor) otherPort(ctx context.Context, e *Endpoint, answer *answerError, c *selfcheck.Check) {
	c.State = selfcheck.Fail
	c.Detail = fmt.Sprintf("%s (%s) speaks HTTP and is no query API of Tempo or Bramble", e.URL(""), e.From)
	if answer != nil {
		c.Detail += fmt.Sprintf(": /api/echo answers with status %d", answer.status)
	}
	c.Fix = "the URL is without a path, and the port 3200 (or 3100, its alias); with http_api_prefix the prefix belongs into the URL"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL("/v1/traces"), http.NoBody)
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if _, err := d.do(e, req); err == nil {
		c.Detail = fmt.Sprintf("%s (%s) is a receiver of OTLP, not the query API", e.URL(""), e.From)
		c.Fix = "queries go to port 3200, spans to 4317 and 4318"
	}
}

func (d *doctor) readiness(ctx context.Context, e *Endpoint, c *selfcheck.Check) {
	_, err := d.get(ctx, e, "/ready")
	if err != nil {
		c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) is not ready: %v", e.URL(""), e.From, err)
		c.Fix = "it is starting (reading the log of a killed process takes a second for each 64 MiB) or stopping: ask again, then look at its log"
		return
	}
	d.mu.Lock()
	d.query = true
	d.mu.Unlock()
	c.Detail = fmt.Sprintf("%s (%s) is ready", e.URL(""), e.From)
}

// agent repeats what the agent that answered says of itself, if that is more than that all is well.
func (d *doctor) agent(ctx context.Context, e *Endpoint, state selfcheck.State) []selfcheck.Check {
	if state != selfcheck.OK {
		return nil
	}
	var said struct {
		Checks []selfcheck.Check `json:"checks"`
	}
	body, err := d.get(ctx, e, "/ready?verbose&format=json")
	if err != nil || json.Unmarshal(body, &said) != nil || said.Checks == nil {
		return []selfcheck.Check{{Name: "agent", State: selfcheck.Skipped, Detail: "what answers tells no checks of its own, as Tempo does not"}}
	}
	var out []selfcheck.Check
	for _, c := range said.Checks {
		if c.State == selfcheck.Warn || c.State == selfcheck.Fail {
			c.Name = "agent/" + selfcheck.OneLine(c.Name)
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		out = append(out, selfcheck.Check{Name: "agent", State: selfcheck.OK, Detail: fmt.Sprintf("the agent that answers says that all of its %d checks are well", len(said.Checks))})
	}
	return out
}

func (d *doctor) get(ctx context.Context, e *Endpoint, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL(path), http.NoBody)
	if err != nil {
		return nil, err
	}
	return d.do(e, req)
}
