package gcpace

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPercent(t *testing.T) {
	const room = 64 << 20
	for _, tc := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{1 << 20, 100},
		{64 << 20, 100},
		{80 << 20, 80},
		{128 << 20, 50},
		{256 << 20, 50},
		{1 << 40, 50},
	} {
		assert.Equal(t, tc.want, percent(tc.live, room), "%d live", tc.live)
	}
}

// now returns the percentage, as Go reports it.
func now(t *testing.T) int {
	t.Helper()
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: liveMetric}}
	metrics.Read(s)
	require.Equal(t, metrics.KindUint64, s[1].Value.Kind(), "this version of Go reports %s", liveMetric)
	return int(s[0].Value.Uint64()) //nolint:gosec // a percentage
}

// eventually collects until the percentage is as wanted: finalizers run after a collection, when it pleases them.
func eventually(t *testing.T, what string, ok func(percent int) bool) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) {
		runtime.GC()
		if ok(now(t)) {
			return
		}
	}
	require.Fail(t, what, "the percentage is %d", now(t))
}

// TestFollowsTheHeap holds much more than the room, lets it go, and stops.
func TestFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	const room = 8 << 20
	stop := Start(room)
	defer stop()
	require.Equal(t, usual, now(t))

	held := make([]byte, 4*room)
	eventually(t, "a large heap is collected more often", func(p int) bool { return p <= least })
	runtime.KeepAlive(held)
	eventually(t, "a small one as ever", func(p int) bool { return p == usual })

	stop()
	require.Equal(t, 77, now(t), "what was before")
	held = make([]byte, 4*room)
	for range 10 {
		runtime.GC()
	}
	require.Equal(t, 77, now(t), "nothing is changed any more")
	runtime.KeepAlive(held)
}

// TestTheUserDecides: with GOGC in the environment nothing is changed.
func TestTheUserDecides(t *testing.T) {
	t.Setenv("GOGC", "off")
	defer debug.SetGCPercent(debug.SetGCPercent(150))
	stop := Start(1)
	defer stop()
	held := make([]byte, 16<<20)
	for range 5 {
		runtime.GC()
	}
	require.Equal(t, 150, now(t))
	runtime.KeepAlive(held)
}

// BenchmarkCollected is what a collection costs more; ns.
func BenchmarkCollected(b *testing.B) {
	p := &pace{room: 64 << 20, now: usual}
	for b.Loop() {
		p.collected()
	}
	p.stopped = true
}
