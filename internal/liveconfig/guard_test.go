package liveconfig

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// place is a source in memory.
type place struct {
	key string
	mu  sync.Mutex
	b   []byte
	err error
}

func (p *place) Key() string { return p.key }

func (p *place) Read(context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b, p.err
}

func (p *place) write(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b, p.err = []byte(s), nil
}

func (p *place) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b, p.err = nil, err
}

// judge accepts what does not contain "bad", and counts.
type judge struct {
	p     *place
	mu    sync.Mutex
	asked int
	err   error
	hook  func()
}

func (j *judge) Check(ctx context.Context) (Verdict, error) {
	j.mu.Lock()
	j.asked++
	hook, err := j.hook, j.err
	j.mu.Unlock()
	if err != nil {
		return Verdict{}, err
	}
	b, err := j.p.Read(ctx)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{OK: true, Sources: map[string]string{j.p.Key(): HashBytes(b)}, Effective: map[string]any{"text": string(b)}}
	if strings.Contains(string(b), "bad") {
		v = Verdict{Reason: "line 1: bad"}
	}
	if hook != nil {
		hook()
	}
	return v, nil
}

func (j *judge) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked
}

// collector plays the Collector's part: it reads when it is told to and runs with what it has read.
type collector struct {
	t       *testing.T
	g       *Guard
	p       *place
	ran     []string
	reloads int
	ready   error
}

// read is what a provider does when the configuration is resolved.
func (c *collector) read() error {
	b, err := c.g.Read(c.t.Context(), c.p, func() { c.reloads++ })
	if err != nil {
		return err
	}
	c.ran = append(c.ran, string(b))
	return nil
}

// start reads and reports that the pipelines run.
func (c *collector) start() {
	c.t.Helper()
	require.NoError(c.t, c.read())
	c.g.Started(func() error { return c.ready })
	c.g.SetEffective(map[string]any{"text": c.ran[len(c.ran)-1]})
}

// wait lets time go by and reloads if that was asked for.
func (c *collector) wait(d time.Duration) {
	c.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if c.reloads > 0 {
		require.Equal(c.t, 1, c.reloads, "one notification for each time that the configuration is read")
		c.reloads = 0
		c.start()
	}
}

func setUp(t *testing.T, opts Options) (*collector, *judge) {
	t.Helper()
	p := &place{key: "/etc/bramble.yaml", b: []byte("one")}
	j := &judge{p: p}
	opts.Checker = j
	g := New(opts)
	t.Cleanup(g.Close)
	c := &collector{t: t, g: g, p: p}
	return c, j
}

func last(g *Guard) Record {
	h := g.Status().History
	return h[len(h)-1]
}

func TestEdits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := setUp(t, Options{})
		c.g.Begin()
		c.start()
		assert.Equal(t, Booted, last(c.g).Outcome)
		c.wait(time.Minute)
		assert.Zero(t, j.count(), "what runs is not judged")

		c.p.write("two")
		c.wait(time.Second)
		require.Equal(t, []string{"one", "two"}, c.ran)
		assert.Equal(t, Applied, last(c.g).Outcome)
		assert.Equal(t, []Change{{Path: "text", Old: "one", New: "two"}}, last(c.g).Changes)

		c.wait(time.Minute)
		c.p.write("three bad")
		c.wait(time.Minute)
		assert.Equal(t, []string{"one", "two"}, c.ran)
		assert.Equal(t, Rejected, last(c.g).Outcome)
		assert.Equal(t, "line 1: bad", last(c.g).Reason)
		assert.False(t, c.g.Status().OK)
		asked := j.count()
		c.wait(time.Minute)
		assert.Equal(t, asked, j.count(), "a rejected candidate is not judged again")

		// A reload by SIGHUP reads what runs, not what the file holds.
		c.start()
		assert.Equal(t, "two", c.ran[len(c.ran)-1])

		c.p.write("two")
		c.wait(time.Second)
		assert.True(t, c.g.Status().OK, "the file holds again what runs")
		c.p.write("three bad")
		c.wait(time.Second)
		assert.Greater(t, j.count(), asked, "the file has changed since: it is judged anew")
		c.p.write("four")
		c.wait(time.Second)
		assert.Equal(t, "four", c.ran[len(c.ran)-1])
		assert.True(t, c.g.Status().OK)
		assert.Equal(t, map[Outcome]int64{Booted: 1, Applied: 2, Rejected: 2}, c.g.Status().Counts)
	})
}

func TestHalfWrittenFilesAreNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := setUp(t, Options{Interval: 500 * time.Millisecond, Settle: 250 * time.Millisecond})
		c.start()
		for i := range 40 { // Written on for four seconds.
			c.p.write("two" + strings.Repeat(".", i) + " bad")
			c.wait(100 * time.Millisecond)
		}
		assert.Zero(t, j.count())
		c.p.write("two")
		c.wait(2 * time.Second)
		assert.Equal(t, 1, j.count())
		assert.Equal(t, []string{"one", "two"}, c.ran)
	})
}

// TestChangedWhileChecked: bytes that come after the check are not applied in its name.
func TestChangedWhileChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := setUp(t, Options{})
		c.start()
		j.hook = sync.OnceFunc(func() { c.p.write("three bad") })
		c.p.write("two")
		c.wait(time.Minute)
		assert.Equal(t, []string{"one"}, c.ran)
		assert.Equal(t, Rejected, last(c.g).Outcome)
	})
}

func TestRollBack(t *testing.T) {
	for name, tc := range map[string]struct {
		fail func(c *collector)
		want string
	}{
		"the service does not start": {func(c *collector) {
			require.True(c.t, c.g.End(c.t.Context(), errors.New("bind: address already in use")))
			c.g.Begin()
			c.start()
		}, "address already in use"},
		"a component fails for good": {func(c *collector) {
			c.start()
			c.g.Fail("receiver otlp: certificate expired", false)
			c.wait(0)
		}, "certificate expired"},
		"a component fails fatally": {func(c *collector) {
			c.start()
			c.g.Fail("receiver otlp: accept failed", true)
			require.Zero(c.t, c.reloads, "the run ends by itself")
			require.True(c.t, c.g.End(c.t.Context(), nil))
			c.g.Begin()
			c.start()
		}, "accept failed"},
		"not ready in the end": {func(c *collector) {
			c.ready = errors.New("still replaying")
			c.start()
			c.wait(DefaultProbation + time.Second)
		}, "still replaying"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, j := setUp(t, Options{})
				c.start()
				c.wait(time.Minute)
				c.p.write("two")
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, 1, c.reloads)
				c.reloads = 0
				require.NoError(t, c.read())
				tc.fail(c)
				assert.Equal(t, "one", c.ran[len(c.ran)-1])
				assert.Equal(t, RolledBack, last(c.g).Outcome)
				assert.Contains(t, last(c.g).Reason, tc.want)
				assert.False(t, c.g.Status().OK)
				asked, runs := j.count(), len(c.ran)
				c.ready = nil
				c.wait(time.Minute)
				assert.Equal(t, asked, j.count(), "it is not tried again")
				assert.Len(t, c.ran, runs)
				c.p.write("three")
				c.wait(time.Second)
				assert.Equal(t, "three", c.ran[len(c.ran)-1], "another edit is")
				assert.True(t, c.g.Status().OK)
			})
		})
	}
}

// TestTrouble long after an edit is the Collector's own matter: going back would not mend it.
func TestTroubleAfterTheProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := setUp(t, Options{Retries: 2})
		c.start()
		c.p.write("two")
		c.wait(time.Second)
		c.wait(time.Minute)
		c.g.Fail("extension zpages: gone", false)
		c.wait(time.Second)
		assert.Equal(t, []string{"one", "two"}, c.ran)
		assert.False(t, c.g.End(t.Context(), nil), "a fatal error ends the process")
		// A reload of a good configuration that fails is tried again, a few times.
		for range 2 {
			assert.True(t, c.g.End(t.Context(), errors.New("port in use")))
		}
		assert.False(t, c.g.End(t.Context(), errors.New("port in use")))
	})
}

func TestRetiringServiceThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := setUp(t, Options{})
		c.start()
		c.p.write("two")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 1, c.reloads)
		c.reloads = 0
		require.True(t, c.g.End(t.Context(), errors.New("failed to shutdown the retiring config: timeout")))
		c.g.Begin()
		c.start()
		assert.Equal(t, "two", c.ran[len(c.ran)-1], "the new configuration has not been tried before")
	})
}

func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := setUp(t, Options{})
		c.start()
		c.p.fail(os.ErrNotExist)
		c.wait(time.Second) // As between an editor's two steps.
		assert.True(t, c.g.Status().OK)
		c.p.write("two")
		c.wait(time.Second)
		assert.Equal(t, []string{"one", "two"}, c.ran)
		c.p.fail(os.ErrPermission)
		c.wait(time.Minute)
		assert.Equal(t, Rejected, last(c.g).Outcome)
		assert.Contains(t, last(c.g).Reason, "permission denied")
		assert.Equal(t, 1, j.count())
	})
}

func TestCheckerThatCannotJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, j := setUp(t, Options{})
		c.start()
		j.err = errors.New("fork: resource temporarily unavailable")
		c.p.write("two")
		c.wait(time.Minute)
		assert.Equal(t, maxCheckTries, j.count())
		assert.Equal(t, Rejected, last(c.g).Outcome)
		assert.Contains(t, last(c.g).Reason, "temporarily unavailable")
	})
}

// TestWithoutAnExtension: a configuration without an extension that reports counts as started after a while.
func TestWithoutAnExtension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := setUp(t, Options{})
		require.NoError(t, c.read())
		c.p.write("two")
		time.Sleep(DefaultStartup + 2*time.Second)
		synctest.Wait()
		require.Equal(t, 1, c.reloads)
	})
}

func TestDetachedProvidersAreNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := setUp(t, Options{})
		c.start()
		c.g.Detach()
		c.p.write("two")
		c.wait(time.Minute)
		assert.Equal(t, []string{"one"}, c.ran)
	})
}

func TestWakeNeedsNoInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := setUp(t, Options{Interval: time.Hour})
		c.start()
		c.p.write("two")
		c.g.Wake()
		c.g.Wake()
		c.wait(time.Second)
		assert.Equal(t, []string{"one", "two"}, c.ran)
	})
}

// TestKeptCopy: a process whose configuration is bad at boot starts with the copy of the last good one, and takes the
// configuration as soon as it is good.
func TestKeptCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		effective := map[string]any{"extensions": map[string]any{"trace_store": map[string]any{"directory": dir}}}
		c, _ := setUp(t, Options{})
		c.start()
		c.g.SetEffective(effective)
		c.wait(DefaultProbation / 2)
		require.NoFileExists(t, filepath.Join(dir, KeptFile), "not before it has proved itself")
		c.wait(DefaultProbation)
		fi, err := os.Stat(filepath.Join(dir, KeptFile))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
		c.g.Close()

		c, _ = setUp(t, Options{Directories: []string{"/does/not/exist", dir}})
		c.p.write("bad")
		c.g.Begin()
		require.NoError(t, c.read())
		require.True(t, c.g.End(t.Context(), errors.New("yaml: line 1")))
		c.g.Begin()
		c.start()
		assert.Equal(t, []string{"bad", "one"}, c.ran)
		assert.Equal(t, BootedLast, last(c.g).Outcome)
		assert.False(t, c.g.Status().OK)
		c.p.write("two")
		c.wait(5 * time.Second)
		assert.Equal(t, "two", c.ran[len(c.ran)-1])
		assert.True(t, c.g.Status().OK)
	})
}

func TestNoUsableCopy(t *testing.T) {
	for name, content := range map[string]string{
		"none":          "",
		"damaged":       "{",
		"version":       `{"version":9,"sources":{"/etc/bramble.yaml":"b25l"}}`,
		"of another":    `{"version":1,"time":"2026-01-01T00:00:00Z","sources":{"/etc/other.yaml":"b25l"}}`,
		"the same":      `{"version":1,"time":"2026-01-01T00:00:00Z","sources":{"/etc/bramble.yaml":"YmFk"}}`,
		"without files": `{"version":1,"time":"2026-01-01T00:00:00Z","sources":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if content != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, KeptFile), []byte(content), 0o600))
			}
			c, _ := setUp(t, Options{Directories: []string{dir}})
			c.p.write("bad")
			c.g.Begin()
			require.NoError(t, c.read())
			assert.False(t, c.g.End(t.Context(), errors.New("bad")))
		})
	}
}

// TestIncludes: a candidate may read other files than the running configuration does.
func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	main, part := filepath.Join(dir, "main.yaml"), filepath.Join(dir, "part.yaml")
	write := func(path, s string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o600)) }
	write(main, "one")
	checker := checkerFunc(func(ctx context.Context) (Verdict, error) {
		v := Verdict{OK: true, Sources: map[string]string{}}
		for _, f := range []File{File(main), File(part)} {
			if b, err := f.Read(ctx); err == nil {
				v.Sources[f.Key()] = HashBytes(b)
			}
		}
		return v, nil
	})
	g := New(Options{Checker: checker, Interval: 10 * time.Millisecond, Settle: 10 * time.Millisecond})
	t.Cleanup(g.Close)
	reload := make(chan struct{}, 1)
	read := func(path string) string {
		b, err := g.Read(t.Context(), File(path), func() { reload <- struct{}{} })
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "one", read(main))
	g.Started(nil)
	write(part, "p1")
	write(main, "two, with a part")
	<-reload
	require.Equal(t, "two, with a part", read(main))
	require.Equal(t, "p1", read(part))
	g.Started(nil)
	write(part, "p2")
	<-reload
	require.Equal(t, "two, with a part", read(main))
	require.Equal(t, "p2", read(part))
	assert.Equal(t, []string{main, part}, g.Status().Sources)
}

type checkerFunc func(context.Context) (Verdict, error)

func (f checkerFunc) Check(ctx context.Context) (Verdict, error) { return f(ctx) }
