package tempoapi

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// maxQueryString bounds the parameters of a request: a query of 128 KiB (S-01), each byte percent-encoded, and room for
// the other parameters.
const maxQueryString = 3*maxQuery + 16<<10

// maxQuery is the size of TraceQL text that is read (S-01).
const maxQuery = 128 << 10

// parseQuery reads the parameters, which come from the URL only (C-03).
func parseQuery(u *url.URL) (url.Values, error) {
	if len(u.RawQuery) > maxQueryString {
		return nil, &statusError{
			code: http.StatusRequestEntityTooLarge, text: "the parameters are too long: at most " + strconv.Itoa(maxQueryString) + " bytes are read",
		}
	}
	p, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, badRequestf("invalid query string: %s", err)
	}
	return p, nil
}

func checkQuerySize(name, q string) error {
	if len(q) > maxQuery {
		return badRequestf("%s has %d bytes, more than the maximum of %d", name, len(q), maxQuery)
	}
	return nil
}

// coarserUnit names the unit in which n is likely to be a time, if as nanoseconds it is one of the first years of Unix time:
// there are no spans of then, and the answer would be empty.
func coarserUnit(n uint64) string {
	switch {
	case n < 1e14:
		return "milliseconds"
	case n < 1e17:
		return "microseconds"
	}
	return ""
}

// secondsParam reads a time in whole Unix seconds; the other forms of a time are taken too (contract section 11, C-14)
// and cut to seconds. ok is false if the parameter is absent or empty.
func secondsParam(p url.Values, name string) (sec uint32, ok bool, err error) {
	nano, ok, err := timeParam(p, name)
	if err != nil || !ok {
		return 0, false, err
	}
	if nano/1e9 > math.MaxUint32 {
		return 0, false, badRequestf("invalid %s: %q is too far in the future", name, p.Get(name))
	}
	return uint32(nano / 1e9), true, nil
}

// timeParam reads a time as Unix nanoseconds from seconds (an integer of up to 10 digits), nanoseconds (a longer one),
// fractional seconds or RFC 3339 (C-14). Other units are refused.
func timeParam(p url.Values, name string) (nano uint64, ok bool, err error) {
	v := p.Get(name)
	if v == "" {
		return 0, false, nil
	}
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		if len(v) <= len("1700000000") {
			return n * 1e9, true, nil
		}
		if unit := coarserUnit(n); unit != "" {
			return 0, false, badRequestf("invalid %s: %s seems to be %s: a time is Unix seconds, nanoseconds or RFC 3339", name, v, unit)
		}
		return n, true, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && f >= 0 && f <= math.MaxUint32 {
		whole, fraction := math.Modf(f)
		return uint64(whole)*1e9 + uint64(math.Round(fraction*1e3))*1e6, true, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil && t.Unix() >= 0 && t.Unix() <= math.MaxUint32 {
		return uint64(t.UnixNano()), true, nil
	}
	return 0, false, badRequestf("invalid %s: %q is not a time (Unix seconds, nanoseconds or RFC 3339)", name, v)
}

// sinceParam reads a duration in Prometheus' syntax (C-15).
func sinceParam(p url.Values) (time.Duration, bool, error) {
	v := p.Get("since")
	if v == "" {
		return 0, false, nil
	}
	d, err := model.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, false, badRequestf("invalid since: %q is not a duration such as 30m or 1d", v)
	}
	return time.Duration(d), true, nil
}

// numberParam reads a count; absent and empty give the default.
func numberParam(p url.Values, name string, unset uint32) (uint32, error) {
	v := p.Get(name)
	if v == "" {
		return unset, nil
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, badRequestf("invalid %s: %q is not a whole number from 0 to %d", name, v, uint32(math.MaxUint32))
	}
	return uint32(n), nil
}

// durationParam reads Go's duration syntax (C-18).
func durationParam(p url.Values, name string) (time.Duration, error) {
	v := p.Get(name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, badRequestf("invalid %s: %q is not a duration such as 100ms or 1.5s", name, v)
	}
	return d, nil
}

// stepParam reads seconds as a number, or a duration (M-01). set is false if there is none.
func stepParam(p url.Values) (step time.Duration, set bool, err error) {
	v := p.Get("step")
	if v == "" {
		return 0, false, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil {
		if math.IsNaN(f) || math.Abs(f) > math.MaxInt64/1e9 {
			return 0, false, badRequestf("invalid step: %q is out of range", v)
		}
		return time.Duration(f * 1e9), true, nil
	}
	if d, err := time.ParseDuration(v); err == nil {
		return d, true, nil
	}
	if d, err := model.ParseDuration(v); err == nil {
		return time.Duration(d), true, nil
	}
	return 0, false, badRequestf("invalid step: cannot parse %q to a valid duration", v)
}
