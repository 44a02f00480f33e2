// Package webmount is the contract between the owner of the query port (the trace_query extension, port 3200) and
// components that want to serve a page or an API there. It holds types only.
//
// A component finds the owner with exthost.Find[webmount.Mounter] in its Start, mounts, and calls the returned function
// in its Shutdown; an extension that does so names the owner in its Dependencies, so that the owner starts first
// and stops last. A mounted handler is behind the same TLS, authentication, CORS and limits as the API, and may be
// called at once and concurrently until the returned function has come back.
//
// Prefixes of the owner itself (/api, /ready, /metrics, /status, /debug) and prefixes that are taken are refused. Below
// /status a component may mount a page about its own state under any name that the owner does not use, such as
// /status/pii; it needs no Title.
// Below /api/bramble a component may mount its part of the API, such as /api/bramble/sampling; it stands behind the owner's
// prefix of the API, if there is one.
package webmount
