package tailsamplingprocessor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"github.com/bramble-tracing/bramble/internal/sampling"
	"github.com/bramble-tracing/bramble/internal/store"
)

const previewPath = "/api/bramble/sampling/preview"

// previewHandler answers what policies would keep of the recent window. It runs one preview at a time: each reads the
// whole window.
type previewHandler struct {
	processor *storeProcessor
	running   sync.Mutex
}

// ServeHTTP answers GET with the parameter policies, or without one for the policies in use, and POST with a document.
func (h *previewHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != previewPath {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "method "+r.Method+" is not possible here: use GET with ?policies=, or POST a document", http.StatusMethodNotAllowed)
		return
	}
	policies, err := h.policies(w, r)
	if err != nil {
		code := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), code)
		return
	}
	if !h.running.TryLock() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "another preview is running, and each reads the whole window: try again", http.StatusTooManyRequests)
		return
	}
	defer h.running.Unlock()
	report, err := h.run(r, policies)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrClosed):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case r.Context().Err() != nil:
		http.Error(w, "the request ended before the preview: "+err.Error(), http.StatusGatewayTimeout)
		return
	default:
		h.processor.log.Error("A preview of sampling policies failed", zap.Error(err))
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	if err := enc.Encode(report); err != nil {
		h.processor.log.Debug("The client of a preview went away", zap.Error(err))
	}
}

// policies returns those of the request, or those in use.
func (h *previewHandler) policies(w http.ResponseWriter, r *http.Request) (*sampling.Policies, error) {
	var document []byte
	if r.Method == http.MethodPost {
		var err error
		if document, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxPoliciesFile)); err != nil {
			return nil, fmt.Errorf("read the body: %w", err)
		}
		if len(document) == 0 {
			return nil, errors.New("the body is empty: send a document with policies, or use GET for those in use")
		}
	} else if q := r.URL.Query(); q.Has("policies") {
		document = []byte(q.Get("policies"))
	} else {
		return h.processor.policies.Load(), nil
	}
	cfg, err := sampling.Parse(document)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	return sampling.Compile(cfg) //nolint:wrapcheck // the path is in it
}

func (h *previewHandler) run(r *http.Request, policies *sampling.Policies) (*sampling.Report, error) {
	v, err := h.processor.store.View()
	if err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	defer v.Release()
	return sampling.Preview(r.Context(), v, policies) //nolint:wrapcheck // it says what it was doing
}
