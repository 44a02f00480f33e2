package head_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// TestRepeatsOfLongValuesCount sends one long text with every span, in each place where a text can be: the head counts it
// as often as a block may have to hold it, though it has it once. Short ones count once.
func TestRepeatsOfLongValuesCount(t *testing.T) {
	for name, set := range map[string]func(s *store.Span, text string){
		"name":           func(s *store.Span, text string) { s.Name = text },
		"status message": func(s *store.Span, text string) { s.StatusMessage = text },
		"attribute": func(s *store.Span, text string) {
			s.Attrs = []store.Attr{{Key: "text", Value: store.String(text)}}
		},
		"event name": func(s *store.Span, text string) { s.Events = []store.Event{{Name: text}} },
		"attribute of an event": func(s *store.Span, text string) {
			s.Events = []store.Event{{Attrs: []store.Attr{{Key: "text", Value: store.Bytes(text)}}}}
		},
		"attribute of a link": func(s *store.Span, text string) {
			s.Links = []store.Link{{Attrs: []store.Attr{{Key: "text", Value: store.String(text)}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			const spans = 100
			grown := func(length int) int64 {
				h := head.New("h", head.Options{})
				for i := range spans {
					b := &store.Batch{Resources: make([]store.Resource, 1), Scopes: make([]store.Scope, 1), Spans: make([]store.Span, 1)}
					b.Spans[0].TraceID[0], b.Spans[0].SpanID[0] = 1, byte(i+1)
					set(&b.Spans[0], strings.Repeat("x", length))
					appendTo(t, h, b)
				}
				return h.Bytes()
			}
			short, long := grown(100), grown(100_000)
			require.Less(t, short, int64(100_000))
			require.Greater(t, long, int64(spans*100_000))
		})
	}
}
