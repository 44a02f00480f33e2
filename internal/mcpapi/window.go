package mcpapi

import (
	"fmt"
	"math"
	"time"
)

// defaultWindow is what is looked at without start and end.
const defaultWindow = time.Hour

// span is the range of time of a question, which is embedded in the arguments of tools.
type span struct {
	Start string `json:"start,omitempty" jsonschema:"Start of the time range in RFC 3339, such as 2026-01-31T10:00:00Z. Without it: one hour before the end."`
	End   string `json:"end,omitempty" jsonschema:"End of the time range in RFC 3339. Without it: now."`
}

// nanos resolves the range in Unix nanoseconds. most is the longest range, 0 for any; after is added to an end that is
// now, so that what was just stored is in the range of a search (C-17).
func (s *span) nanos(now time.Time, most, after time.Duration) (start, end uint64, err error) {
	to, from := now.Add(after), time.Time{}
	if s.End != "" {
		if to, err = parseTime("end", s.End); err != nil {
			return 0, 0, err
		}
	}
	if s.Start != "" {
		if from, err = parseTime("start", s.Start); err != nil {
			return 0, 0, err
		}
	} else if from = to.Add(-defaultWindow - after); from.Before(time.Unix(0, 0)) {
		from = time.Unix(0, 0)
	}
	if !from.Before(to) {
		return 0, 0, fmt.Errorf("start must be before end: start is %s, end is %s", from.UTC().Format(time.RFC3339Nano), to.UTC().Format(time.RFC3339Nano))
	}
	if r := to.Sub(from); most > 0 && r > most+after {
		return 0, 0, fmt.Errorf("the time range of %s is longer than the limit of %s: ask for parts of it", r, most)
	}
	return uint64(from.UnixNano()), uint64(to.UnixNano()), nil
}

// parseTime takes the times that Unix nanoseconds can tell.
func parseTime(name, s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("invalid %s %q: use a time in RFC 3339 with a zone, such as 2026-01-31T10:00:00Z", name, s)
	}
	if t.Before(time.Unix(0, 0)) || t.After(time.Unix(0, math.MaxInt64)) {
		return t, fmt.Errorf("invalid %s %q: must be between the years 1970 and 2262", name, s)
	}
	return t, nil
}
