package tempoapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

const (
	defaultLimit = 20     // S-05
	maxLimit     = 262144 // S-05
	defaultSPSS  = 3      // S-06
	maxSPSS      = 100    // S-06
)

// searchParams decodes the parameters of /api/search.
func (a *API) searchParams(r *http.Request) (query.SearchRequest, error) {
	q := query.SearchRequest{Client: clientOf(r)}
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	q.Query = p.Get("q")
	if q.Query != "" && p.Get("tags") != "" {
		return q, badRequestf("invalid request: can't specify tags and q in the same query")
	}
	if q.Tags, err = searchTags(p); err != nil {
		return q, err
	}
	if q.MinDuration, err = durationParam(p, "minDuration"); err != nil {
		return q, err
	}
	if q.MaxDuration, err = durationParam(p, "maxDuration"); err != nil {
		return q, err
	}
	limit, err := numberParam(p, "limit", defaultLimit)
	if err != nil {
		return q, err
	}
	if limit == 0 {
		return q, badRequestf("invalid limit: must be a positive number")
	}
	spss, err := numberParam(p, "spss", defaultSPSS)
	if err != nil {
		return q, err
	}
	w, err := a.searchWindow(p, func(start uint32) error { return errOrder(start, 0) })
	if err != nil {
		return q, err
	}
	return q, a.finishSearch(&q, limit, spss, w)
}

// protoSearch decodes a SearchRequest of the streaming service.
func (a *API) protoSearch(m *tempopb.SearchRequest, client string) (query.SearchRequest, error) {
	q := query.SearchRequest{
		Query: m.GetQuery(), Tags: m.GetTags(), Client: client,
		MinDuration: time.Duration(m.GetMinDurationMs()) * time.Millisecond, MaxDuration: time.Duration(m.GetMaxDurationMs()) * time.Millisecond,
	}
	if q.Query != "" && len(q.Tags) > 0 {
		return q, badRequestf("invalid request: can't specify tags and q in the same query")
	}
	limit := m.GetLimit()
	if limit == 0 {
		limit = defaultLimit
	}
	w, err := a.protoWindow(m.GetStart(), m.GetEnd(), func(start uint32) error { return errOrder(start, 0) })
	if err != nil {
		return q, err
	}
	return q, a.finishSearch(&q, limit, m.GetSpansPerSpanSet(), w)
}

// finishSearch checks what both forms share (S-04 to S-07).
func (a *API) finishSearch(q *query.SearchRequest, limit, spss uint32, w window) error {
	if err := checkQuerySize("q", q.Query); err != nil {
		return err
	}
	if q.MaxDuration > 0 && q.MaxDuration < q.MinDuration {
		return badRequestf("invalid maxDuration: must be greater than minDuration")
	}
	if limit > maxLimit {
		return badRequestf("limit %d exceeds max limit %d", limit, maxLimit)
	}
	if spss > maxSPSS {
		return badRequestf("spans per span set exceeds %d. received %d", maxSPSS, spss)
	}
	if spss == 0 {
		spss = defaultSPSS
	}
	if most := a.service.Limits().MaxSearchRange; most > 0 && time.Duration(w.end-w.start)*time.Second > most {
		return badRequestf("range specified by start and end exceeds %s. received start=%d end=%d", most, w.start, w.end)
	}
	q.Limit, q.SpansPerSpanSet = int(limit), int(spss)
	q.StartNano, q.EndNano = w.nanos()
	return nil
}

// notTags are the parameters that are no tags when all others are (S-03).
var notTags = []string{
	"q", "tags", "start", "end", "since", "limit", "spss", "minDuration", "maxDuration", "skip_ast_transformations", "mode", "orgID",
}

// searchTags returns the tags= form (S-02), or, in a request from before there was one, all other parameters (S-03).
func searchTags(p url.Values) (map[string]string, error) {
	if p.Has("tags") {
		tags, err := parseLogfmt(p.Get("tags"))
		if err != nil {
			return nil, badRequestf("invalid tags: %s", err)
		}
		return tags, nil
	}
	if p.Get("q") != "" || p.Has("start") || p.Has("end") {
		return nil, nil
	}
	var tags map[string]string
	for k, v := range p {
		if slices.Contains(notTags, k) || strings.TrimSpace(k) == "" {
			continue
		}
		if tags == nil {
			tags = make(map[string]string)
		}
		tags[k] = v[0]
	}
	return tags, nil
}
