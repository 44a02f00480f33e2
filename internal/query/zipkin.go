package query

import (
	"encoding/binary"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// separateShared gives the server its own span id where a client and a server span share one, as Zipkin's tracers do
// (T-08): the server becomes a child of the client, and the spans that called the shared id their parent become the
// server's children, because what happens behind a call happens in the server. It returns t itself if there is nothing
// to do; rows of t are not changed otherwise, but copied.
func separateShared(t *store.Trace) *store.Trace {
	servers := sharedServers(t.Spans)
	if len(servers) == 0 {
		return t
	}
	used := make(map[spanid.SpanID]bool, len(t.Spans))
	for i := range t.Spans {
		used[t.Spans[i].SpanID] = true
	}
	out := *t
	out.Spans = append([]store.Span(nil), t.Spans...)
	renamed := make(map[spanid.SpanID]spanid.SpanID, len(servers))
	for _, i := range servers {
		shared := out.Spans[i].SpanID
		fresh := freshID(shared, used)
		used[fresh] = true
		renamed[shared] = fresh
		out.Spans[i].SpanID, out.Spans[i].ParentID = fresh, shared
	}
	isServer := make(map[int]bool, len(servers))
	for _, i := range servers {
		isServer[i] = true
	}
	for i := range out.Spans {
		if fresh, ok := renamed[out.Spans[i].ParentID]; ok && !isServer[i] {
			out.Spans[i].ParentID = fresh
		}
	}
	return &out
}

// sharedServers returns the first server span of each id that a client span has too.
func sharedServers(spans []store.Span) []int {
	clients := make(map[spanid.SpanID]bool)
	for i := range spans {
		if spans[i].Kind == store.KindClient && !spans[i].SpanID.IsZero() {
			clients[spans[i].SpanID] = true
		}
	}
	var out []int
	for i := range spans {
		if id := spans[i].SpanID; spans[i].Kind == store.KindServer && clients[id] {
			clients[id] = false
			out = append(out, i)
		}
	}
	return out
}

// freshID derives an id that no span of the trace has: always the same one for the same trace, so that links to it
// stay valid from answer to answer.
func freshID(shared spanid.SpanID, used map[spanid.SpanID]bool) spanid.SpanID {
	n := binary.BigEndian.Uint64(shared[:])
	for {
		n ^= n << 13 // xorshift64 (Marsaglia 2003): its period covers all ids but zero.
		n ^= n >> 7
		n ^= n << 17
		var id spanid.SpanID
		binary.BigEndian.PutUint64(id[:], n)
		if !used[id] {
			return id
		}
	}
}
