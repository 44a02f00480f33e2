package sampling_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// openStores returns views of the same spans in different forms: one head, small blocks with many split traces and a
// head, and the oracle in small parts.
func openStores(t testing.TB, batches ...ptrace.Traces) map[string]store.View {
	stores := map[string]store.Store{"oracle": oracle.New(70)}
	for name, cut := range map[string]tracedb.CutOptions{"head": {}, "blocks": {Spans: 150, MaxFrozen: 1}} {
		db, err := tracedb.Open(t.Context(), tracedb.Options{Dir: "data", FS: fsx.NewMem(), Cut: cut})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
		stores[name] = db
	}
	views := map[string]store.View{}
	for name, s := range stores {
		for _, td := range batches {
			var b store.Batch
			require.NoError(t, otlpspan.Flatten(td, &b))
			require.NoError(t, s.Append(t.Context(), &b))
		}
		v, err := s.View()
		require.NoError(t, err)
		t.Cleanup(v.Release)
		views[name] = v
	}
	return views
}

// undecided returns the traces of some parts of a view.
func undecided(t testing.TB, v store.View, parts []store.Part) *store.Undecided {
	seen := map[spanid.TraceID]bool{}
	var vec store.Vector
	u := &store.Undecided{View: v, Parts: parts}
	for _, p := range parts {
		info := p.Info()
		for g := range info.Granules() {
			var sel store.Bitmap
			sel.Fill(info.GranuleLen(g))
			require.NoError(t, p.Read(t.Context(), g, store.Intrinsic(store.SpanTraceID), &sel, &vec))
			for i := range vec.Rows() {
				id := spanid.TraceID{}
				if s := vec.At(i).Str; s != "" {
					var err error
					id, err = spanid.ParseTraceID(s)
					require.NoError(t, err)
				}
				if !seen[id] {
					seen[id] = true
					u.Traces = append(u.Traces, id)
				}
			}
		}
	}
	slices.SortFunc(u.Traces, func(a, b spanid.TraceID) int { return bytes.Compare(a[:], b[:]) })
	return u
}
