package tempoapi

import (
	"net/url"
	"strings"
)

// exactEndpoints are those whose path is their route.
var exactEndpoints = []endpoint{
	{"/api/echo", (*API).echo},
	{"/api/status/buildinfo", (*API).buildInfo},
	{"/api/search", (*API).search},
	{"/api/search/tags", (*API).tags},
	{"/api/v2/search/tags", (*API).tagsV2},
	{"/api/metrics/query_range", (*API).queryRange},
	{"/api/metrics/query", (*API).queryInstant},
}

// patternEndpoints have one variable part. It is taken from the escaped path and unescaped once, so that it may hold
// slashes, and may be anything up to the last occurrence of what follows it (V-04).
var patternEndpoints = []endpoint{
	{"/api/traces/{traceID}", deletable((*API).traceV1)},
	{"/api/v2/traces/{traceID}", deletable((*API).traceV2)},
	{"/api/search/tag/{name}/values", (*API).values},
	{"/api/v2/search/tag/{name}/values", (*API).valuesV2},
}

// find returns the endpoint of a path and the unescaped variable part, or nil. Paths are not cleaned: `..` and `//`
// have no meaning here.
func (a *API) find(u *url.URL) (*endpoint, string) {
	if e := a.exact[u.Path]; e != nil {
		return e, ""
	}
	path := u.EscapedPath()
	for i := range patternEndpoints {
		e := &patternEndpoints[i]
		if arg, ok := matchPattern(e.route, path); ok {
			return e, arg
		}
	}
	return nil, ""
}

// matchPattern returns what stands in the place of the {variable} of route. A variable at the end of a route is one
// path segment; one with a suffix is not empty and may hold slashes.
func matchPattern(route, path string) (string, bool) {
	prefix, rest, _ := strings.Cut(route, "{")
	_, suffix, _ := strings.Cut(rest, "}")
	arg, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", false
	}
	if arg, ok = strings.CutSuffix(arg, suffix); !ok {
		return "", false
	}
	if arg == "" || suffix == "" && strings.Contains(arg, "/") {
		return "", false
	}
	arg, err := url.PathUnescape(arg)
	if err != nil {
		return "", false
	}
	return arg, true
}
