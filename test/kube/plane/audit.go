package plane

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// Request is one line of the audit log.
type Request struct {
	Stage, Verb, RequestURI string
	User                    struct{ Username string }
	ObjectRef               struct{ Resource, Namespace, Name, APIGroup string }
	ResponseStatus          struct{ Code int }
}

// Query returns the request's parameters.
func (r *Request) Query() url.Values {
	u, err := url.Parse(r.RequestURI)
	if err != nil {
		return nil
	}
	return u.Query()
}

// Requests returns what a user has asked for so far, each request once: as the audit log has it when it ended, or when it
// began if it goes on.
func (p *Plane) Requests(t testing.TB, user string) []Request {
	t.Helper()
	text := p.read(t, "audit.log")
	text = text[:bytes.LastIndexByte(text, '\n')+1] // The last line may be in the making.
	order, last := []string{}, map[string]Request{}
	for line := range bytes.Lines(text) {
		var r struct {
			AuditID string
			Request
		}
		require.NoError(t, json.Unmarshal(line, &r), "%s", line)
		if r.User.Username != user {
			continue
		}
		if _, ok := last[r.AuditID]; !ok {
			order = append(order, r.AuditID)
		}
		last[r.AuditID] = r.Request
	}
	out := make([]Request, 0, len(order))
	for _, id := range order {
		out = append(out, last[id])
	}
	return out
}

// Account is the name under which a ServiceAccount's requests are in the audit log.
func Account(namespace, name string) string { return "system:serviceaccount:" + namespace + ":" + name }
