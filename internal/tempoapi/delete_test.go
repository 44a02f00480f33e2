package tempoapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// deleting is an oracle with the engine's signature of DeleteTrace.
type deleting struct{ *oracle.Store }

func (d deleting) DeleteTrace(_ context.Context, id spanid.TraceID) (int, error) {
	return d.Store.DeleteTrace(id), nil
}

func TestDelete(t *testing.T) {
	s := oracle.New(5)
	require.NoError(t, s.Append(t.Context(), one()))
	ask := func(o Options, viewer query.Deleter, method, path string) (int, string, http.Header) {
		t.Helper()
		var service *query.Service
		if viewer == nil {
			service = query.New(s, query.Limits{})
		} else {
			service = query.New(viewer.(deleting), query.Limits{})
		}
		w := httptest.NewRecorder()
		New(service, o).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w.Code, w.Body.String(), w.Header()
	}
	able := deleting{s}
	// Off: it says so and does nothing. Other methods are as good as GET (C-03).
	code, text, header := ask(Options{}, able, http.MethodDelete, onePath)
	require.Equal(t, http.StatusMethodNotAllowed, code)
	require.Contains(t, text, "delete_enabled")
	require.Equal(t, "GET, HEAD", header.Get("Allow"))
	code, _, _ = ask(Options{}, able, http.MethodPost, onePath)
	require.Equal(t, http.StatusOK, code)
	// Only a whole trace, and only with an id that is one.
	on := Options{Delete: true}
	code, text, _ = ask(on, able, http.MethodDelete, onePath+"?start=1&end=2")
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, text, "no parameters")
	code, _, _ = ask(on, able, http.MethodDelete, "/api/traces/xyz")
	require.Equal(t, http.StatusBadRequest, code)
	code, text, _ = ask(on, nil, http.MethodDelete, onePath)
	require.Equal(t, http.StatusNotImplemented, code)
	require.Contains(t, text, "not supported")
	for _, path := range []string{"/api/search", "/api/search/tags", "/api/echo"} {
		code, _, _ = ask(on, able, http.MethodDelete, path)
		require.Equal(t, http.StatusOK, code, "nothing but traces can be deleted: %s", path)
	}
	code, text, _ = ask(on, able, http.MethodDelete, onePath)
	require.Equal(t, http.StatusNoContent, code)
	require.Empty(t, text)
	code, text, _ = ask(on, able, http.MethodDelete, onePath)
	require.Equal(t, http.StatusNotFound, code)
	require.Empty(t, text)
	_, text, _ = ask(on, able, http.MethodGet, onePath)
	require.JSONEq(t, `{"trace":{},"metrics":{}}`, text)
}
