package liveconfig

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.MkdirAll(path("v1"), 0o700))
	require.NoError(t, os.MkdirAll(path("v2"), 0o700))
	require.NoError(t, os.WriteFile(path("v1/config.yaml"), []byte("one"), 0o600))
	require.NoError(t, os.WriteFile(path("v2/config.yaml"), []byte("two"), 0o600))
	require.NoError(t, os.Symlink("v1", path("..data")))
	require.NoError(t, os.Symlink("..data/config.yaml", path("config.yaml")))
	f := File(path("config.yaml"))
	b, err := f.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one", string(b))
	// The kubelet swaps the link to the directory.
	require.NoError(t, os.Symlink("v2", path("..tmp")))
	require.NoError(t, os.Rename(path("..tmp"), path("..data")))
	b, err = f.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "two", string(b))

	require.NoError(t, os.WriteFile(path("large"), make([]byte, MaxSourceBytes+1), 0o600))
	_, err = File(path("large")).Read(t.Context())
	require.ErrorIs(t, err, ErrSourceTooLarge)
	require.ErrorContains(t, err, path("large"))
	require.NoError(t, os.Symlink("loop", path("loop")))
	for _, bad := range []string{"loop", "missing", "v1"} {
		_, err = File(path(bad)).Read(t.Context())
		require.ErrorContains(t, err, path(bad))
	}
	wd, err := os.Getwd()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(wd, "x.yaml"), File("./a/../x.yaml").Key())
}

func TestSetHash(t *testing.T) {
	a := Set{"a": []byte("1"), "b": []byte("2")}
	assert.Equal(t, a.Hash(), Set{"b": []byte("2"), "a": []byte("1")}.Hash())
	for _, other := range []Set{{"a": []byte("1")}, {"a": []byte("1"), "b": []byte("3")}, {"a": []byte("2"), "b": []byte("1")}, {"a": []byte("1 1 b 1 2")}, {}, nil} {
		assert.NotEqual(t, a.Hash(), other.Hash(), "%q", other)
	}
}

func TestRedact(t *testing.T) {
	in := map[string]any{
		"password": "p", "client_secret": "s", "token": "", "api-key": "k", "x.authorization": "Bearer b", "routing_key": "traceID",
		"key_file": "/etc/tls.key", "endpoint": "https://u:p@example.com/x", "timeout": 1500 * time.Millisecond, "size": 33554432,
		"ratio": 0.5, "on": true, "none": nil, "list": []any{map[string]any{"secret": "x"}, "a://b@c"}, "names": []string{"n"},
		"typed": map[string]string{"cookie": "c"},
	}
	want := map[string]any{
		"password": Hidden, "client_secret": Hidden, "token": "", "api-key": Hidden, "x.authorization": Hidden, "routing_key": "traceID",
		"key_file": "/etc/tls.key", "endpoint": "https://" + Hidden + "@example.com/x", "timeout": "1.5s", "size": json.Number("33554432"),
		"ratio": json.Number("0.5"), "on": true, "none": nil, "list": []any{map[string]any{"secret": Hidden}, "a://" + Hidden + "@c"},
		"names": []any{"n"}, "typed": map[string]any{"cookie": Hidden},
	}
	got := Redact(in)
	require.Equal(t, want, got)
	b, err := json.Marshal(got)
	require.NoError(t, err)
	var back map[string]any
	require.NoError(t, DecodeJSON(b, &back))
	assert.Empty(t, Diff(got, Redact(back)), "a copy that crossed a process border is equal")
	assert.Nil(t, Redact(nil))
}

func TestDiff(t *testing.T) {
	before := map[string]any{"r": map[string]any{"a": 1, "b": []any{1}, "gone": map[string]any{"x": 1}, "n": nil}, "same": "x"}
	after := map[string]any{"r": map[string]any{"a": 2, "b": []any{1, 2}, "new": map[string]any{"y": 1}, "n": 1}, "same": "x"}
	var lines []string
	for _, c := range Diff(Redact(before), Redact(after)) {
		lines = append(lines, c.String())
	}
	assert.Equal(t, []string{
		"~ r::a: 1 -> 2", "~ r::b: [1] -> [1 2]", "- r::gone: map[x:1]", "~ r::n: (empty) -> 1", "+ r::new: map[y:1]",
	}, lines)
	assert.Empty(t, Diff(nil, nil))
	long := Change{Path: "p", New: strings.Repeat("ä\n", 500)}
	assert.Less(t, len(long.String()), 400)
	assert.NotContains(t, long.String(), "\n")
	many := make([]Change, 100)
	assert.Len(t, lines40(many), maxChangesLogged+1)
}

func lines40(c []Change) []string { return lines(c) }

func TestCgroupUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, s string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(s), 0o600))
		return path
	}
	v2 := write("self2", "0::/pod/c1\n")
	write("root2/pod/c1/memory.current", "1000\n")
	write("root2/pod/c1/memory.stat", "anon 1\ninactive_file 300\n")
	used, ok := cgroupUsed(filepath.Join(dir, "root2"), v2)
	assert.True(t, ok)
	assert.EqualValues(t, 700, used)

	v1 := write("self1", "3:cpu:/x\n2:memory:/pod\n")
	write("root1/memory/memory.usage_in_bytes", "50\n") // As a container sees its own.
	write("root1/memory/memory.stat", "total_inactive_file 100\n")
	used, ok = cgroupUsed(filepath.Join(dir, "root1"), v1)
	assert.True(t, ok)
	assert.Zero(t, used)

	for _, bad := range []string{"", "garbage", "0::/nowhere\n"} {
		_, ok = cgroupUsed(filepath.Join(dir, "none"), write("bad", bad))
		assert.False(t, ok, "%q", bad)
	}
	_, ok = cgroupUsed(dir, filepath.Join(dir, "missing"))
	assert.False(t, ok)
}

// childProcess is what the test binary does as the child of a check.
func childProcess() int {
	switch os.Getenv("LIVECONFIG_TEST_CHILD") {
	case "good":
		fmt.Println("noise\n" + `{"ok":true,"sources":{"a":"b"},"effective":{"n":5}}`)
	case "bad":
		fmt.Println(`{"ok":false,"reason":"line 3"}`)
		return 1
	case "panic":
		panic("boom")
	case "silent":
	case "args":
		b, err := json.Marshal(Verdict{Reason: strings.Join(os.Args[1:], " ") + " " + os.Getenv("GOMEMLIMIT")})
		if err != nil {
			return 3
		}
		fmt.Println(string(b))
	}
	return 0
}

func TestChild(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("no child processes")
	}
	program, err := os.Executable()
	require.NoError(t, err)
	plenty := func() (int64, bool) { return 0, false }
	for name, tc := range map[string]struct {
		reason, err string
		ok          bool
	}{
		"good":   {ok: true},
		"bad":    {reason: "line 3"},
		"panic":  {reason: "the check crashed: panic: boom"},
		"silent": {err: "it gave no verdict"},
		"args":   {reason: fmt.Sprintf("config check --json --running-pid %d --config x.yaml 128MiB", os.Getpid())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LIVECONFIG_TEST_CHILD", name)
			c := &Child{Program: program, Args: []string{"--config", "x.yaml"}, Headroom: plenty}
			v, err := c.Check(t.Context())
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.ok, v.OK)
			assert.Contains(t, v.Reason, tc.reason)
			if tc.ok {
				assert.Equal(t, map[string]any{"n": json.Number("5")}, v.Effective)
			}
		})
	}
	_, err = (&Child{Program: filepath.Join(t.TempDir(), "missing"), Headroom: plenty}).Check(t.Context())
	require.Error(t, err)

	tight := func() (int64, bool) { return ChildHeadroom - 1, true }
	v, err := (&Child{Program: "never run", Headroom: tight}).Check(t.Context())
	require.NoError(t, err)
	assert.True(t, v.OK)
	assert.Contains(t, v.Skipped, "149 MiB")
	c, j := &Child{Headroom: tight}, &judge{p: &place{key: "k", b: []byte("bad")}}
	c.Light = j
	v, err = c.Check(t.Context())
	require.NoError(t, err)
	assert.False(t, v.OK, "the light check still judges")
	assert.NotEmpty(t, v.Skipped)
}

func TestGuardOfTheProcess(t *testing.T) {
	var r procstate.Registry
	assert.Nil(t, Of(&r))
	g := New(Options{})
	defer g.Close()
	release, err := Register(&r, g)
	require.NoError(t, err)
	assert.Same(t, g, Of(&r))
	require.NoError(t, release())
	assert.Nil(t, Of(&r))
}
