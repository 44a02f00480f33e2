package tracedb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

func TestRecordsRoundTrip(t *testing.T) {
	var r recordReader
	g := testkit.NewNasty(1)
	for range 5 { // The reader's memory is reused.
		want := g.Batch(50)
		payload, err := appendBatchRecord(nil, want)
		require.NoError(t, err)
		rec, err := r.read(payload)
		require.NoError(t, err)
		storetest.RequireSameSpans(t, want, rec.batch)
	}
	rec, err := r.read(deleteRecord(spanid.TraceID{3}))
	require.NoError(t, err)
	require.Nil(t, rec.batch)
	require.Equal(t, spanid.TraceID{3}, rec.deleted)
}

// FuzzRecord reads arbitrary bytes as a log record: an error or something that a head takes, never a panic.
func FuzzRecord(f *testing.F) {
	payload, err := appendBatchRecord(nil, testkit.NewNasty(2).Batch(3))
	require.NoError(f, err)
	f.Add(payload)
	f.Add(deleteRecord(spanid.TraceID{1}))
	f.Add([]byte{})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r recordReader
		rec, err := r.read(data)
		if err != nil || rec.batch == nil {
			return
		}
		h := head.New("h", head.Options{MaxColumns: 4})
		_, err = h.Append(rec.batch)
		require.NoError(t, err)
		require.Equal(t, len(rec.batch.Spans), h.Rows())
	})
}
