package tempoapi

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/bramble-tracing/bramble/internal/query"
)

// Headers of answers, and metadata of streams, that are ours.
const (
	// MissingNodesHeader names the nodes whose spans an answer is without, separated by commas.
	MissingNodesHeader = "Bramble-Missing-Nodes"
	// NoticeHeader says for people what is wrong with all answers, such as that other agents are not asked.
	NoticeHeader = "Bramble-Notice"
)

// notes adds the headers to an answer.
func (a *API) notes(h http.Header, report *query.CoverageReport) {
	if c := report.Last(); c != nil && len(c.Missing) > 0 {
		h.Set(MissingNodesHeader, oneLine(strings.Join(c.MissingNames(), ",")))
		if h.Get(headerPartial) == "" {
			h.Set(headerPartial, oneLine(c.Text()))
		}
	}
	if n := a.service.Notice(); n != "" {
		h.Set(NoticeHeader, oneLine(n))
	}
}

// NoteStreams adds what headers say to the trailer of streams.
func (a *API) NoteStreams() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		report := &query.CoverageReport{}
		err := handler(srv, &notedStream{ss, query.WithCoverage(ss.Context(), report)})
		h := http.Header{}
		a.notes(h, report)
		md := metadata.MD{}
		h.Del(headerPartial) // The method's own.
		for k, v := range h {
			md.Append(k, v...)
		}
		ss.SetTrailer(md)
		return err
	}
}

// notedStream is a stream with a context for reports.
type notedStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // The stream's own.
}

// Context implements grpc.ServerStream.
func (s *notedStream) Context() context.Context { return s.ctx }
