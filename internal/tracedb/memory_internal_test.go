package tracedb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWritersAreCounted: what a writer says that it has is counted when it is more than was asked for. The flusher's excess
// is taken from everybody, a merge takes no more than its share from heads, and all is given back.
func TestWritersAreCounted(t *testing.T) {
	const cache, kept, most = 120, 120, 100
	m := newMemory(600)
	all := func() int64 { return m.all.Usage().Used - cache - kept }
	require.Zero(t, all())

	f := m.forFlush(50)
	f.base = 20
	f.writer(10)
	require.EqualValues(t, 50, m.flush.Usage().Used, "what was asked for stays taken")
	f.writer(90)
	require.EqualValues(t, 110, m.flush.Usage().Used)
	require.Zero(t, all(), "within what is kept")
	f.writer(200)
	require.EqualValues(t, 220, m.flush.Usage().Used)
	require.EqualValues(t, 220-kept, all())
	f.writer(100)
	require.Zero(t, all())
	f.writer(400)
	require.EqualValues(t, 420-kept, all())
	require.Nil(t, m.forMerge(61), "what is left is not enough")
	f.release()
	require.Zero(t, m.flush.Usage().Used+all())

	g := m.forMerge(30)
	g.base = 10
	require.EqualValues(t, 30, all())
	g.writer(60)
	require.EqualValues(t, 70, m.merge.Usage().Used)
	require.EqualValues(t, 70, all())
	g.writer(300)
	require.EqualValues(t, 310, m.merge.Usage().Used)
	require.EqualValues(t, most, all())
	g.release()
	require.Zero(t, m.merge.Usage().Used+all())
}
