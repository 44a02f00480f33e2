package tracequeryextension

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/bramble-tracing/bramble/internal/liveconfig"
	"github.com/bramble-tracing/bramble/internal/procstate"
	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// verbose says that a request for /ready wants the checks, too. Its status is the same without them: a check that fails
// does not make the agent unready, for then its spans would be lost besides.
func verbose(r *http.Request) bool { return r.URL.Path == "/ready" && r.URL.Query().Has("verbose") }

// readyVerbose answers /ready?verbose: what /ready says, and the checks. It stands behind authentication, which /ready
// does not.
func (h *portHandler) readyVerbose(w http.ResponseWriter, r *http.Request) {
	status, text := h.ext.readiness()
	h.writeChecks(w, r, status, text+"\n")
}

// checksPage answers /status/checks.
func (h *portHandler) checksPage(w http.ResponseWriter, r *http.Request) {
	h.writeChecks(w, r, http.StatusOK, "")
}

// writeChecks answers with the checks as text behind head, or as JSON to ?format=json.
func (h *portHandler) writeChecks(w http.ResponseWriter, r *http.Request, status int, head string) {
	checks := h.ext.checks.Board().Checks()
	var b bytes.Buffer
	switch r.URL.Query().Get("format") {
	case "", "text":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		b.WriteString(head)
		selfcheck.Write(&b, checks)
	case "json":
		w.Header().Set("Content-Type", "application/json")
		_, text := h.ext.readiness()
		if err := json.NewEncoder(&b).Encode(map[string]any{"ready": text, "worst": selfcheck.Worst(checks), "checks": checks}); err != nil {
			http.Error(w, fmt.Sprintf("encode the checks: %v", err), http.StatusInternalServerError)
			return
		}
	default:
		http.Error(w, "format: must be text or json", http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The client that does not read has gone.
	_, _ = w.Write(b.Bytes())
}

// report is what this extension knows itself.
func (e *queryExtension) report() []selfcheck.Check {
	out := []selfcheck.Check{{Name: "pipelines", State: selfcheck.OK, Detail: "they run"}}
	if status, text := e.readiness(); status != http.StatusOK {
		out[0].State, out[0].Detail = selfcheck.Fail, text
	}
	if g := liveconfig.Of(&procstate.Default); g != nil {
		c := selfcheck.Check{Name: "configuration", State: selfcheck.OK, Detail: "what the sources hold is what runs"}
		if s := g.Status(); !s.OK {
			c.State, c.Detail = selfcheck.Warn, "the sources hold something else than what runs, and it was refused"
			c.Fix = "see the history at /status/config, and mend or take back the edit"
		}
		out = append(out, c)
	}
	if e.peers == nil {
		return out
	}
	up, all := 0, 0
	for _, m := range e.peers.peers.Members() {
		all++
		if m.Self || m.Up {
			up++
		}
	}
	_, missing := e.peers.peers.Peers()
	c := selfcheck.Check{Name: "peers", State: selfcheck.OK, Detail: fmt.Sprintf("%d of %d agents answer, this one included", up, all)}
	if up < all || len(missing) > 0 {
		c.State, c.Fix = selfcheck.Warn, "answers are partial: /status/peers says who is missing and why"
	}
	return append(out, c)
}
