package jaegerapi

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
)

// parseQuery is strict, unlike URL.Query: what cannot be read is an error and not an absent parameter.
func parseQuery(r *http.Request) (url.Values, error) {
	p, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, query.Invalidf("invalid query string: %s", err)
	}
	return p, nil
}

// timeParam reads a Unix time in whole units.
func timeParam(p url.Values, name string, otherwise time.Time, unit time.Duration) (time.Time, error) {
	text := p.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return time.Time{}, query.Invalidf("parameter '%s': %.100q is not a Unix time in %s", name, text, unitName(unit))
	}
	return time.Unix(0, n*int64(unit)), nil
}

func unitName(d time.Duration) string {
	if d == time.Microsecond {
		return "microseconds"
	}
	return "milliseconds"
}

func durationParam(p url.Values, name string) (time.Duration, error) {
	text := p.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, query.Invalidf("parameter '%s': %.100q is not a duration such as 1.5s or 20ms", name, text)
	}
	return d, nil
}
