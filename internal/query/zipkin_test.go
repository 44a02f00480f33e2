package query

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

func TestSharedIDsAreSeparated(t *testing.T) { // T-08
	id := func(n byte) spanid.SpanID { return spanid.SpanID{7: n} }
	tr := &store.Trace{Batch: store.Batch{Spans: []store.Span{
		{SpanID: id(1), Kind: store.KindServer, Name: "root"},
		{SpanID: id(2), ParentID: id(1), Kind: store.KindClient, Name: "call"},
		{SpanID: id(3), ParentID: id(2), Kind: store.KindInternal, Name: "work"},
		{SpanID: id(2), ParentID: id(1), Kind: store.KindServer, Name: "served"},
		{SpanID: id(4), ParentID: id(3), Kind: store.KindClient, Name: "call without a server"},
	}}}
	got := separateShared(tr)
	byName := map[string]store.Span{}
	seen := map[spanid.SpanID]bool{}
	for _, s := range got.Spans {
		byName[s.Name] = s
		require.False(t, seen[s.SpanID])
		seen[s.SpanID] = true
	}
	served := byName["served"]
	require.Equal(t, id(2), byName["call"].SpanID)
	require.Equal(t, id(1), byName["call"].ParentID)
	require.NotEqual(t, id(2), served.SpanID)
	require.Equal(t, id(2), served.ParentID)
	require.Equal(t, served.SpanID, byName["work"].ParentID)
	require.Equal(t, id(3), byName["call without a server"].ParentID)
	require.Equal(t, id(2), tr.Spans[3].SpanID, "the store's rows are not changed")
	require.Equal(t, got, separateShared(tr), "the new id is the same in every answer")
	require.Same(t, got, separateShared(got), "done once is done")
}
