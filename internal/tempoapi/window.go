package tempoapi

import (
	"net/url"
	"time"
)

// defaultWindow is what is searched without start and end (C-16).
const defaultWindow = 15 * time.Minute

// window is a range of time in whole Unix seconds.
type window struct{ start, end uint32 }

func (w window) nanos() (start, end uint64) { return uint64(w.start) * 1e9, uint64(w.end) * 1e9 }

// searchWindow resolves the time parameters of search and tag endpoints (C-14 to C-16, S-07). onlyStart is the error for
// a start without an end, which differs between endpoints.
func (a *API) searchWindow(p url.Values, onlyStart func(start uint32) error) (window, error) {
	since, ok, err := sinceParam(p)
	if err != nil {
		return window{}, err
	}
	if ok {
		return a.last(since), nil
	}
	start, hasStart, err := secondsParam(p, "start")
	if err != nil {
		return window{}, err
	}
	end, hasEnd, err := secondsParam(p, "end")
	if err != nil {
		return window{}, err
	}
	switch {
	case start == 0 && end == 0: // Absent, or zero as clients say absent.
		return a.last(defaultWindow), nil
	case !hasEnd:
		return window{}, onlyStart(start)
	case !hasStart:
		return window{}, errOneOfBoth()
	}
	return window{start, end}, checkOrder(start, end)
}

// last is the window that ends now. Its end is rounded up, so that what was just stored is in it (C-17).
func (a *API) last(d time.Duration) window {
	end := a.opts.Now().Unix() + 1
	start := max(0, end-1-int64(d/time.Second))
	return window{uint32(start), uint32(end)}
}

func errOneOfBoth() error {
	return badRequestf("error parsing date range: only one of start and end provided: must provide both or neither")
}

func errOrder(start, end uint32) error {
	return badRequestf("http parameter start must be before end. received start=%d end=%d", start, end)
}

func checkOrder(start, end uint32) error {
	if end <= start {
		return errOrder(start, end)
	}
	return nil
}

// protoWindow is searchWindow for gRPC, where 0 means absent.
func (a *API) protoWindow(start, end uint32, onlyStart func(start uint32) error) (window, error) {
	switch {
	case start == 0 && end == 0:
		return a.last(defaultWindow), nil
	case end == 0:
		return window{}, onlyStart(start)
	}
	return window{start, end}, checkOrder(start, end)
}
