package tempoapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/query"
)

// statusClientClosed is nginx's code for a client that went away before the answer (C-11).
const statusClientClosed = 499

// statusError is an error with the HTTP status it is answered with. An empty text makes an empty body.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// badRequestf makes a 400 whose text the user reads.
func badRequestf(format string, args ...any) error {
	return &statusError{code: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// statusOf returns the HTTP status of an error (C-11).
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.code
	}
	switch query.KindOf(err) {
	case query.KindInvalid:
		return http.StatusBadRequest
	case query.KindNotFound:
		return http.StatusNotFound
	case query.KindUnsupported:
		return http.StatusNotImplemented
	case query.KindOverloaded:
		return http.StatusTooManyRequests
	case query.KindUnavailable:
		return http.StatusServiceUnavailable
	case query.KindTimeout:
		return http.StatusGatewayTimeout
	case query.KindCanceled:
		return statusClientClosed
	case query.KindInternal:
	}
	return http.StatusInternalServerError
}

// writeError answers with the error's status and text.
func writeError(w http.ResponseWriter, err error) int {
	code := statusOf(err)
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	if text := err.Error(); text != "" {
		// The client that does not read its error has gone; there is nobody to tell.
		_, _ = w.Write([]byte(strings.ToValidUTF8(text, "\uFFFD") + "\n"))
	}
	return code
}

// grpcError gives an error the code that belongs to its HTTP status (C-11).
func grpcError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Unknown
	switch http := statusOf(err); {
	case http == 400:
		code = codes.InvalidArgument
	case http == 404:
		code = codes.NotFound
	case http == 429:
		code = codes.ResourceExhausted
	case http == statusClientClosed:
		code = codes.Canceled
	case http >= 500:
		code = codes.Internal
	}
	if errors.Is(err, context.Canceled) {
		code = codes.Canceled
	}
	return status.Error(code, strings.ToValidUTF8(err.Error(), "\uFFFD"))
}
