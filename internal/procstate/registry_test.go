package procstate

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// thing counts how often it is opened and closed.
type thing struct {
	mu             sync.Mutex
	opened, closed int
	closeErr       error
}

func (th *thing) open() (Opened, error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.opened++
	return Opened{Value: th.opened, Close: func() error {
		th.mu.Lock()
		defer th.mu.Unlock()
		th.closed++
		return th.closeErr
	}}, nil
}

func TestSharedUntilLastRelease(t *testing.T) {
	var r Registry
	var th thing
	v1, rel1, err := r.Acquire("dir", "a", th.open)
	require.NoError(t, err)
	v2, rel2, err := r.Acquire("dir", "a", th.open)
	require.NoError(t, err)
	assert.Equal(t, v1, v2)
	require.NoError(t, rel1())
	require.NoError(t, rel1(), "a second release does nothing")
	assert.Equal(t, 0, th.closed)
	require.NoError(t, rel2())
	assert.Equal(t, 1, th.closed)
	assert.Equal(t, 1, th.opened)
}

func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		var th thing
		r.SetGrace(10 * time.Second)
		v1, rel, err := r.Acquire("dir", "a", th.open)
		require.NoError(t, err)
		require.NoError(t, rel())
		time.Sleep(9 * time.Second)
		v2, rel, err := r.Acquire("dir", "a", th.open)
		require.NoError(t, err)
		assert.Equal(t, v1, v2, "a successor within the grace period finds the same value")
		time.Sleep(time.Minute)
		assert.Equal(t, 0, th.closed, "a value in use stays open")
		require.NoError(t, rel())
		time.Sleep(11 * time.Second)
		synctest.Wait()
		assert.Equal(t, 1, th.closed)
	})
}

func TestOtherSettings(t *testing.T) {
	var r Registry
	var th thing
	r.SetGrace(time.Hour)
	_, rel, err := r.Acquire("dir", "a", th.open)
	require.NoError(t, err)
	_, _, err = r.Acquire("dir", "b", th.open)
	require.ErrorContains(t, err, "in use with other settings")
	require.NoError(t, rel())
	v, rel, err := r.Acquire("dir", "b", th.open)
	require.NoError(t, err)
	assert.Equal(t, 2, v, "new settings, new value")
	assert.Equal(t, 1, th.closed)
	require.NoError(t, rel())
	require.NoError(t, r.CloseAll())
	assert.Equal(t, 2, th.closed)
}

// TestCloseIdle: only what is unused and matches is closed, also from within an open function.
func TestCloseIdle(t *testing.T) {
	var r Registry
	r.SetGrace(time.Hour)
	things := map[string]*thing{"port a": {}, "port b": {}, "dir": {}}
	releases := map[string]func() error{}
	for key, th := range things {
		_, rel, err := r.Acquire(key, "", th.open)
		require.NoError(t, err)
		releases[key] = rel
	}
	require.NoError(t, releases["port a"]())
	require.NoError(t, releases["dir"]())
	ports := func(key string) bool { return strings.HasPrefix(key, "port") }
	_, rel, err := r.Acquire("port c", "", func() (Opened, error) { return Opened{}, r.CloseIdle(ports) })
	require.NoError(t, err)
	require.NoError(t, rel())
	assert.Equal(t, 1, things["port a"].closed)
	assert.Equal(t, 0, things["port b"].closed, "it is in use")
	assert.Equal(t, 0, things["dir"].closed, "it was not asked for")
	_, rel, err = r.Acquire("port a", "", things["port a"].open)
	require.NoError(t, err)
	assert.Equal(t, 2, things["port a"].opened)
	require.NoError(t, rel())
	things["port a"].closeErr = errors.New("boom")
	require.ErrorContains(t, r.CloseIdle(ports), "close port a: boom")
	require.NoError(t, releases["port b"]())
	require.NoError(t, r.CloseAll())
	assert.Equal(t, 1, things["port b"].closed)
	assert.Equal(t, 1, things["dir"].closed)
}

func TestOpenErrorLeavesNothing(t *testing.T) {
	var r Registry
	boom := errors.New("boom")
	_, _, err := r.Acquire("dir", "a", func() (Opened, error) { return Opened{}, boom })
	require.ErrorIs(t, err, boom)
	var th thing
	_, rel, err := r.Acquire("dir", "a", th.open)
	require.NoError(t, err)
	require.ErrorContains(t, r.CloseAll(), "still in use")
	th.closeErr = boom
	require.ErrorIs(t, rel(), boom)
}

func TestConcurrentUse(t *testing.T) {
	var r Registry
	var th thing
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				_, rel, err := r.Acquire("dir", "a", th.open)
				if err != nil || rel() != nil {
					t.Error("acquire or release:", err)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, th.opened, th.closed)
}
