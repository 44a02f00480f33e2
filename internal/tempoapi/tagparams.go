package tempoapi

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

// scopes are the values of the parameter scope besides none (G-03).
var scopes = []string{"resource", "span", "event", "link", "instrumentation", "intrinsic"}

// tagScope checks a scope; none and absent are the same.
func tagScope(s string) (string, error) {
	if s == "" || s == "none" {
		return "", nil
	}
	if !slices.Contains(scopes, s) {
		return "", badRequestf("invalid scope: %s", s)
	}
	return s, nil
}

func onlyStart(uint32) error { return errOneOfBoth() }

// tagParams decodes the parameters of the two endpoints for names (G-05).
func (a *API) tagParams(r *http.Request) (q query.TagNamesRequest, err error) {
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	q.Client, q.Query = clientOf(r), p.Get("q")
	if q.Scope, err = tagScope(p.Get("scope")); err != nil {
		return q, err
	}
	if q.Limit, err = a.tagLimits(p, "limit"); err != nil {
		return q, err
	}
	w, err := a.searchWindow(p, onlyStart)
	if err != nil {
		return q, err
	}
	q.StartNano, q.EndNano = w.nanos()
	return q, checkQuerySize("q", q.Query)
}

// tagLimits reads the limit, and checks maxStaleValues, which has no meaning here.
func (a *API) tagLimits(p url.Values, name string) (int, error) {
	limit, err := numberParam(p, name, 0)
	if err != nil {
		return 0, err
	}
	if _, err := numberParam(p, "maxStaleValues", 0); err != nil {
		return 0, err
	}
	return int(limit), nil
}

// valueParams decodes the parameters of the two endpoints for values (V-08).
func (a *API) valueParams(r *http.Request, name string) (q query.TagValuesRequest, err error) {
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	q.Client, q.Name, q.Query = clientOf(r), name, p.Get("q")
	if q.Limit, err = a.tagLimits(p, "limit"); err != nil {
		return q, err
	}
	w, err := a.searchWindow(p, onlyStart)
	if err != nil {
		return q, err
	}
	q.StartNano, q.EndNano = w.nanos()
	return q, checkQuerySize("q", q.Query)
}

func (a *API) protoTags(m *tempopb.SearchTagsRequest, client string) (q query.TagNamesRequest, err error) {
	q = query.TagNamesRequest{Query: m.GetQuery(), Limit: int(m.GetMaxTagsPerScope()), Client: client}
	if q.Scope, err = tagScope(m.GetScope()); err != nil {
		return q, err
	}
	w, err := a.protoWindow(m.GetStart(), m.GetEnd(), onlyStart)
	if err != nil {
		return q, err
	}
	q.StartNano, q.EndNano = w.nanos()
	return q, checkQuerySize("query", q.Query)
}

func (a *API) protoValues(m *tempopb.SearchTagValuesRequest, client string) (q query.TagValuesRequest, err error) {
	q = query.TagValuesRequest{Name: m.GetTagName(), Query: m.GetQuery(), Limit: int(m.GetMaxTagValues()), Client: client}
	w, err := a.protoWindow(m.GetStart(), m.GetEnd(), onlyStart)
	if err != nil {
		return q, err
	}
	q.StartNano, q.EndNano = w.nanos()
	return q, checkQuerySize("query", q.Query)
}
