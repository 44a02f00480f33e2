package otlpreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/internal/keptport"
)

const (
	// expectBody is the largest memory, in bytes, that is taken because a request says how large it is.
	expectBody = 256 << 10
	// keepBody is the largest memory, in bytes, that is kept for later requests.
	keepBody = 4 << 20
)

// bodies recycles the memory of encoded requests, as *bytes.Buffer. pdata keeps none of it (TestDecodedIsACopy).
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// handler serves one signal. fresh makes an empty request, export passes it on.
func handler[Q request, P response](fresh func() Q, export func(context.Context, Q) (P, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			answer(w, "text/plain", http.StatusMethodNotAllowed, []byte("OTLP is sent by POST, not by "+r.Method))
			return
		}
		enc, ok := encodingOf(r.Header.Get("Content-Type"))
		if !ok {
			answer(w, "text/plain", http.StatusUnsupportedMediaType, []byte("the content type must be "+protoType+" or "+jsonType))
			return
		}
		req := fresh()
		if s := read(enc, r, req); s != nil {
			answerStatus(w, enc, httpCode(s.Code()), s)
			return
		}
		res, err := export(r.Context(), req)
		if err != nil {
			s := status.Convert(err)
			answerStatus(w, enc, httpCode(s.Code()), s)
			return
		}
		body, err := enc.encode(res)
		if err != nil {
			answerStatus(w, enc, http.StatusInternalServerError, fromHTTP(http.StatusInternalServerError, err.Error()))
			return
		}
		answer(w, string(enc), http.StatusOK, body)
	})
}

// elsewhere answers at paths where nothing is served. served names the signals with their paths.
func elsewhere(served []string) http.Handler {
	text := "this receiver takes OTLP by POST: " + strings.Join(served, ", ") + ". A signal is taken if a pipeline has the receiver"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, "text/plain; charset=utf-8", http.StatusNotFound, fmt.Appendf(nil, "nothing is served at %.200q: %s", r.URL.Path, text))
	})
}

// read decodes the body of a request. It returns the status to answer with if that cannot be done.
func read(enc encoding, r *http.Request, into request) *status.Status {
	buf := bodies.Get().(*bytes.Buffer) //nolint:errcheck // The pool makes nothing else.
	defer func() {
		if buf.Cap() <= keepBody {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, expectBody)) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(r.Body); err != nil {
		if errors.Is(context.Cause(r.Context()), keptport.ErrReloading) {
			return sendAgain()
		}
		return status.New(codes.InvalidArgument, err.Error())
	}
	if err := enc.decode(into, buf.Bytes()); err != nil {
		return status.New(codes.InvalidArgument, err.Error())
	}
	return nil
}

// answerError answers for the Collector's HTTP server: what it cannot decompress, who may not send.
func answerError(w http.ResponseWriter, r *http.Request, message string, code int) {
	enc, ok := encodingOf(r.Header.Get("Content-Type"))
	if !ok {
		enc = jsonType
	}
	answerStatus(w, enc, code, fromHTTP(code, message))
}

// answerReloading answers requests for which no pipeline came.
func answerReloading(w http.ResponseWriter, r *http.Request) {
	enc, ok := encodingOf(r.Header.Get("Content-Type"))
	if !ok {
		enc = jsonType
	}
	answerStatus(w, enc, http.StatusServiceUnavailable, sendAgain())
}

// answerStatus sends a google.rpc.Status in the encoding of the request (OTLP 1.x, "Failures" of OTLP/HTTP), with the time
// to wait if it says one ("OTLP/HTTP Throttling").
func answerStatus(w http.ResponseWriter, enc encoding, code int, s *status.Status) {
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		if d, ok := retryDelay(s); ok {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(0, d.Seconds())))))
		}
	}
	p := s.Proto()
	p.Message = strings.ToValidUTF8(p.GetMessage(), "\uFFFD") // It may quote the request, and has to be text.
	body, err := enc.encodeStatus(p)
	if err != nil {
		answer(w, "text/plain", code, []byte(p.GetMessage()))
		return
	}
	answer(w, string(enc), code, body)
}

func answer(w http.ResponseWriter, contentType string, code int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // It is no page: the content type says so. A client that is gone cannot be told.
}
