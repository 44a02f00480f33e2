package tracequeryextension

import (
	"net/http"
	"time"
)

// stallWriter gives every single write a deadline, so that an answer may take as long as it makes progress, but a
// client that does not read cannot hold a connection and what is behind it.
type stallWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func newStallWriter(w http.ResponseWriter, stall time.Duration) *stallWriter {
	return &stallWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

// begin sets the deadline. Writers that know no deadlines (in tests) go without.
func (w *stallWriter) begin() {
	if w.stall > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.stall))
	}
}

// end takes the deadline back: over HTTP/2 it would reset the stream also between writes.
func (w *stallWriter) end() {
	if w.stall > 0 {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}

func (w *stallWriter) Write(p []byte) (int, error) {
	w.begin()
	defer w.end()
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher, which grpc-go insists on.
func (w *stallWriter) Flush() {
	w.begin()
	defer w.end()
	// The error comes back with the next write.
	_ = w.control.Flush()
}

// finish bounds what the server still has to do when the handler has come back: wait as long as `rest` for the request's
// body and send what is buffered.
func (w *stallWriter) finish(rest time.Duration) {
	if rest > 0 {
		_ = w.control.SetReadDeadline(time.Now().Add(rest))
	}
	if w.stall > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(rest + w.stall))
	}
}

// Unwrap is for http.ResponseController.
func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
