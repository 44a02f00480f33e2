package diskscan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// reader looks at every row and catalogue entry that the store reads.
func (r *Report) reader(tb testing.TB, dir string, n *Needles) {
	tb.Helper()
	db, err := tracedb.Open(tb.Context(), tracedb.Options{Dir: dir})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, db.Close(tb.Context())) }()
	view, err := db.View()
	require.NoError(tb, err)
	defer view.Release()
	for _, p := range view.Parts() {
		info := p.Info()
		rows := make([]uint32, 0, store.GranuleRows)
		for first := 0; first < info.Rows; first += store.GranuleRows {
			rows = rows[:0]
			for row := first; row < min(first+store.GranuleRows, info.Rows); row++ {
				rows = append(rows, uint32(row)) //nolint:gosec // A block has fewer rows.
			}
			var batch store.Batch
			require.NoError(tb, p.Spans(tb.Context(), rows, &batch))
			otlp, err := otlpspan.AppendProto(nil, &batch)
			require.NoError(tb, err)
			r.Look(n, Reader, "rows of "+info.ID, otlp)
			r.Read[Reader] += len(rows) - 1
		}
		attrs, err := p.Attributes(tb.Context())
		require.NoError(tb, err)
		for _, a := range attrs {
			r.Look(n, Reader, "catalogue of "+info.ID, []byte(a.Column.Name))
			for _, v := range a.Top {
				r.Look(n, Reader, "catalogue of "+info.ID+", "+a.Column.Name, []byte(v.Value.Str))
			}
		}
	}
}
