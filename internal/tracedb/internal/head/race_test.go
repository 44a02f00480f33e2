package head_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/head"
)

// TestReadersAndAppender reads everything that can be read while the head grows: batches must appear as a whole, and a
// part must not change. It is meant for -race, which checks the memory model of the package comment.
func TestReadersAndAppender(t *testing.T) {
	const batches, perBatch = 40, 30
	h := head.New("h", head.Options{MaxColumns: 40})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for r := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				readPart(t, h.Part(store.KindHead), i*2+r, perBatch)
			}
		})
	}
	g := testkit.NewNasty(8)
	for range batches {
		appendTo(t, h, g.Batch(perBatch))
	}
	close(done)
	wg.Wait()
	require.Equal(t, batches*perBatch, h.Rows())
}

// readPart asks a part some questions, others each time, and checks that the answers fit each other.
func readPart(t *testing.T, p *head.Part, round, perBatch int) {
	t.Helper()
	info := p.Info()
	assert.Zero(t, info.Rows%perBatch, "a part of a batch is visible")
	if info.Rows == 0 {
		return
	}
	last := uint32(info.Rows - 1)
	var b store.Batch
	assert.NoError(t, p.Spans(t.Context(), []uint32{uint32(round) % last, last}, &b))
	rows, err := p.TraceRows(t.Context(), b.Spans[1].TraceID, nil)
	assert.NoError(t, err)
	assert.Contains(t, rows, last)
	assert.LessOrEqual(t, rows[len(rows)-1], last)
	assert.True(t, p.HasTrace(b.Spans[0].TraceID))
	assert.False(t, p.HasTrace(spanid.TraceID{1, 2, 3}))
	key := testkit.NastyKeys[round%len(testkit.NastyKeys)]
	for scope := store.ScopeSpan; scope <= store.ScopeUnscoped; scope++ {
		var sel store.Bitmap
		sel.Fill(info.GranuleLen(0))
		exists := store.Predicate{Column: store.Column{Scope: scope, Name: key}}
		assert.NoError(t, p.Filter(t.Context(), 0, &exists, &sel))
		n := sel.Count()
		var v store.Vector
		assert.NoError(t, p.Read(t.Context(), 0, exists.Column, &sel, &v))
		for i := range n {
			assert.NotEqual(t, store.TypeAbsent, v.At(i).Type)
			if v.At(i).Type == store.TypeString {
				eq := store.Predicate{Column: exists.Column, Op: store.OpEq, Values: []store.Value{v.At(i)}}
				assert.NoError(t, p.Filter(t.Context(), 0, &eq, &sel))
				assert.Positive(t, sel.Count())
				assert.True(t, p.MayMatch(0, &eq))
				break
			}
		}
	}
	if round%16 == 0 {
		_, err := p.Attributes(t.Context())
		assert.NoError(t, err)
	}
	name := store.Intrinsic(store.Intrinsics[round%len(store.Intrinsics)])
	var sel store.Bitmap
	sel.Fill(info.GranuleLen(0))
	var v store.Vector
	assert.NoError(t, p.Read(t.Context(), 0, name, &sel, &v))
	assert.Equal(t, info.GranuleLen(0), v.Rows())
}
