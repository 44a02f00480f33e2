package diskscan_test

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
	"github.com/bramble-tracing/bramble/test/diskscan"
)

// TestDeletedTraceIsGone deletes a trace that has a secret in every place. The
// scan finds them all before: in the records of the log, then in pages, indexes, by the store's reader and by DuckDB. After
// the next rewrite none of its ways finds any.
func TestDeletedTraceIsGone(t *testing.T) {
	dir := t.TempDir()
	with := func(f func(db *tracedb.DB)) {
		t.Helper()
		db, err := tracedb.Open(t.Context(), tracedb.Options{Dir: dir, Compaction: tracedb.CompactionOptions{Off: true}})
		require.NoError(t, err)
		f(db)
		require.NoError(t, db.Close(context.Background()))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var needles diskscan.Needles
	secrets := 0
	secret := func() string {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		text := hex.EncodeToString(b)
		needles.Add(secrets, text)
		secrets++
		return text
	}
	id := spanid.TraceID{0xde, 0xad, 15: 1}
	attrs := func() []store.Attr {
		return []store.Attr{{Key: secret(), Value: store.String(secret())}, {Key: "known", Value: store.String(secret())}, {Key: "bytes", Value: store.Bytes(secret())}}
	}
	b := testkit.NewGenerator(3).Batch(300)
	b.Resources = append(b.Resources, store.Resource{Attrs: attrs()})
	b.Scopes = append(b.Scopes, store.Scope{Name: secret(), Version: secret(), Attrs: attrs()})
	b.Spans = append(b.Spans, store.Span{
		TraceID: id, SpanID: spanid.SpanID{1}, Resource: int32(len(b.Resources) - 1), Scope: int32(len(b.Scopes) - 1), StartNano: 1e18, EndNano: 2e18,
		Name: secret(), TraceState: secret(), StatusMessage: secret(), Attrs: attrs(),
		Events: []store.Event{{Name: secret(), Attrs: attrs()}}, Links: []store.Link{{TraceID: spanid.TraceID{2}, TraceState: secret(), Attrs: attrs()}},
	})
	all := func(r *diskscan.Report, ways ...string) {
		t.Helper()
		for _, way := range ways {
			require.Len(t, r.Found[way], secrets, "%s: the control finds every secret", way)
		}
	}
	with(func(db *tracedb.DB) { require.NoError(t, db.Append(t.Context(), b)) })
	all(diskscan.Store(t, dir, &needles), diskscan.Log, diskscan.Reader)
	with(func(db *tracedb.DB) { require.NoError(t, db.Rewrite(t.Context())) })
	ways := []string{diskscan.Frames, diskscan.Reader}
	if diskscan.HasDuckDB(t) {
		ways = append(ways, diskscan.DuckDB)
	}
	all(diskscan.Store(t, dir, &needles), ways...)
	with(func(db *tracedb.DB) {
		n, err := db.DeleteTrace(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, db.Rewrite(t.Context()))
		require.Equal(t, len(b.Spans)-1, db.Stats().Spans)
	})
	r := diskscan.Store(t, dir, &needles)
	for way, found := range r.Found {
		require.Empty(t, found, "%s", way)
	}
	for _, way := range ways {
		require.Positive(t, r.Read[way], "%s has looked", way)
	}
}
