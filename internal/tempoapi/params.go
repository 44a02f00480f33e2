package tempoapi

import (
	"math"
	"net/url"
	"strconv"
	"time"
)

// maxQueryString bounds the parameters of a request: a query of 128 KiB (S-01), each byte percent-encoded, and room for
// the other parameters.
const maxQueryString = 3*128<<10 + 16<<10

// parseQuery reads the parameters, which come from the URL only (C-03).
func parseQuery(u *url.URL) (url.Values, error) {
	if len(u.RawQuery) > maxQueryString {
		return nil, &statusError{code: 413, text: "the parameters are too long: at most " + strconv.Itoa(maxQueryString) + " bytes are read"}
	}
	p, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, badRequestf("invalid query string: %s", err)
	}
	return p, nil
}

// secondsParam reads a time in whole Unix seconds; RFC 3339 is taken too (contract section 11, C-14). ok is false if the
// parameter is absent or empty.
func secondsParam(p url.Values, name string) (sec uint32, ok bool, err error) {
	v := p.Get(name)
	if v == "" {
		return 0, false, nil
	}
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return uint32(n), true, nil
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil && t.Unix() >= 0 && t.Unix() <= math.MaxUint32 {
		return uint32(t.Unix()), true, nil //nolint:gosec // In range.
	}
	return 0, false, badRequestf("invalid %s: %q is not a time in Unix seconds", name, v)
}
