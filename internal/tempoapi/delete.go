package tempoapi

import (
	"net/http"
)

// serveFunc answers requests to one endpoint; see endpoint.
type serveFunc = func(a *API, w http.ResponseWriter, r *http.Request, arg string) error

// deletable is an endpoint of a trace whose DELETE deletes the trace instead of showing it. Tempo has no such call: it
// takes any method for GET (C-03). Here DELETE must never look as if it had worked, so it is refused if it is off.
func deletable(show serveFunc) serveFunc {
	return func(a *API, w http.ResponseWriter, r *http.Request, id string) error {
		if r.Method != http.MethodDelete {
			return show(a, w, r, id)
		}
		return a.deleteTrace(w, r, id)
	}
}

// deleteTrace deletes what is stored of a trace: 204 if there was something, 404 without a body if not (as T-04). It takes
// no parameters, because none would narrow what is deleted.
func (a *API) deleteTrace(w http.ResponseWriter, r *http.Request, id string) error {
	if !a.opts.Delete {
		w.Header().Set("Allow", "GET, HEAD")
		return &statusError{
			code: http.StatusMethodNotAllowed,
			text: "this API is read-only: deleting traces needs delete_enabled and auth in the configuration of trace_query",
		}
	}
	if r.URL.RawQuery != "" {
		return badRequestf("DELETE takes no parameters: a trace is deleted as a whole")
	}
	q, err := traceRequest(r, id)
	if err != nil {
		return err
	}
	n, err := a.service.DeleteTrace(r.Context(), q)
	switch {
	case err != nil:
		return err
	case n == 0:
		return &statusError{code: http.StatusNotFound}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
