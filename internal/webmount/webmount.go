package webmount

import "net/http"

// Mount is a page or an API below one path prefix.
type Mount struct {
	// Prefix is an absolute path without a slash at its end, such as "/pii". The handler gets requests for the prefix
	// itself and for everything below it, with unchanged paths. "/" takes what nobody else has; the longest prefix wins.
	Prefix string
	// Handler serves the requests. It sets its own deadlines with http.ResponseController; none is set before it.
	Handler http.Handler
	// Title is how the page is listed in navigation; without one it is not listed.
	Title string
	// Description is one sentence about the page, for /status/endpoints.
	Description string
}

// Mounter is implemented by the extension that owns the port.
type Mounter interface {
	// Mount makes m reachable until unmount is called. unmount waits for requests in progress in m's handler, and may be
	// called more than once. The error says which prefix is invalid, reserved or taken.
	Mount(m Mount) (unmount func(), err error)
	// Mounts returns what is mounted now, in order of prefixes.
	Mounts() []Mount
}
