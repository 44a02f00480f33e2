package fsx

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outcomes crashes m many times and counts what describe says about the clones.
func outcomes(m *Mem, describe func(c *Mem) string) map[string]int {
	out := make(map[string]int)
	for seed := range uint64(400) {
		out[describe(m.CrashClone(rand.New(rand.NewPCG(seed, 0))))]++
	}
	return out
}

func contents(path string) func(c *Mem) string {
	return func(c *Mem) string {
		data, err := ReadFile(c, path)
		if err != nil {
			return "none"
		}
		return string(data)
	}
}

func TestCrashNames(t *testing.T) {
	m := NewMem()
	f, err := m.Create("f")
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	got := outcomes(m, func(c *Mem) string {
		if s := contents("f")(c); s == "none" || s == "" || s == "x" {
			return s
		}
		return "other"
	})
	assert.Len(t, got, 4, "absent, empty, written, or of the right length only: %v", got)
	require.NoError(t, f.Sync())
	got = outcomes(m, contents("f"))
	assert.Positive(t, got["none"], "syncing a file does not sync its name")
	assert.Positive(t, got["x"])
	assert.Len(t, got, 2)
	require.NoError(t, m.SyncDir("/"))
	assert.Equal(t, map[string]int{"x": 400}, outcomes(m, contents("f")))

	require.NoError(t, m.MkdirAll("d"))
	require.NoError(t, m.Rename("f", "d/g"))
	both := func(c *Mem) string { return contents("f")(c) + " " + contents("d/g")(c) }
	got = outcomes(m, both)
	assert.Positive(t, got["x none"])
	assert.Positive(t, got["none x"])
	assert.Zero(t, got["x x"])
	assert.Positive(t, got["none none"], "in a directory that is lost itself")
	require.NoError(t, m.SyncDir("d"))
	got = outcomes(m, both)
	assert.Equal(t, map[string]int{"none x": 400}, got, "and what it depends on")
	require.NoError(t, m.Remove("d/g"))
	assert.Len(t, outcomes(m, contents("d/g")), 2)
	require.NoError(t, m.SyncDir("d"))
	assert.Equal(t, map[string]int{"none": 400}, outcomes(m, contents("d/g")))
	require.NoError(t, f.Close())
}

func TestCrashData(t *testing.T) {
	m := NewMem()
	f, err := m.Create("f")
	require.NoError(t, err)
	kept := strings.Repeat("k", 700)
	_, err = f.Write([]byte(kept))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("/"))
	for range 4 {
		_, err = f.Write([]byte(strings.Repeat("n", 1000)))
		require.NoError(t, err)
	}
	kinds := outcomes(m, func(c *Mem) string {
		data, err := ReadFile(c, "f")
		require.NoError(t, err)
		require.Equal(t, kept, string(data[:700]), "what was synced is there")
		rest := string(data[700:])
		switch n := len(rest); {
		case n == 0:
			return "nothing"
		case rest == strings.Repeat("n", 4000):
			return "all"
		case rest == strings.Repeat("n", n):
			return "beginning"
		case strings.Trim(rest, "n\x00") == "":
			return "zeros"
		default:
			return "garbage"
		}
	})
	for _, k := range []string{"nothing", "all", "beginning", "zeros", "garbage"} {
		assert.Positive(t, kinds[k], "%s of %v", k, kinds)
	}
	require.NoError(t, f.Truncate(100))
	got := outcomes(m, func(c *Mem) string { return strconv.FormatBool(len(contents("f")(c)) == 100) })
	assert.Len(t, got, 2, "a truncation may be lost")
	require.NoError(t, f.Sync())
	assert.Equal(t, map[string]int{kept[:100]: 400}, outcomes(m, contents("f")))
	require.NoError(t, f.Close())
}

// TestCloneIsIndependent changes a clone and its original.
func TestCloneIsIndependent(t *testing.T) {
	m := NewMem()
	require.NoError(t, WriteFileAtomic(m, "f", []byte("old")))
	_, err := m.Lock("/")
	require.NoError(t, err)
	require.NoError(t, m.SyncDir("/"))
	c := m.CrashClone(rand.New(rand.NewPCG(1, 1)))
	_, err = c.Lock("/")
	require.NoError(t, err, "locks do not survive")
	require.NoError(t, WriteFileAtomic(c, "f", []byte("clone")))
	assert.Equal(t, map[string]int{"clone": 400}, outcomes(c, contents("f")))
	assert.Equal(t, "old", read(t, m, "f"))
	require.NoError(t, WriteFileAtomic(m, "f", []byte("mine")))
	assert.Equal(t, "clone", read(t, c, "f"))
}

// TestWriteFileAtomic crashes at every call, and lets every call fail.
func TestWriteFileAtomic(t *testing.T) {
	for fail := range 8 {
		m := NewMem()
		require.NoError(t, WriteFileAtomic(m, "f", []byte("old contents")))
		faulty := NewFaulty(m)
		rng := rand.New(rand.NewPCG(uint64(fail), 0))
		faulty.Before(func(Op, string) {
			for range 50 {
				got := contents("f")(m.CrashClone(rng))
				if got != "old contents" && got != "new" {
					t.Errorf("after a crash the file holds %q", got)
				}
			}
		})
		ops := []Op{OpCreate, OpWrite, OpSync, OpClose, OpRename, OpSyncDir}
		if fail < len(ops) {
			faulty.Inject(Fault{Op: ops[fail], Err: syscall.EIO, Short: 1})
			err := WriteFileAtomic(faulty, "f", []byte("new"))
			require.ErrorIs(t, err, syscall.EIO)
			_, err = m.Stat("f" + TempSuffix)
			require.ErrorIs(t, err, fs.ErrNotExist, "nothing is left over")
			if ops[fail] != OpSyncDir {
				assert.Equal(t, "old contents", read(t, m, "f"))
			}
			continue
		}
		require.NoError(t, WriteFileAtomic(faulty, "f", []byte("new")))
		assert.Equal(t, map[string]int{"new": 400}, outcomes(m, contents("f")))
	}
}

func TestMkdirAllSync(t *testing.T) {
	m := NewMem()
	require.NoError(t, MkdirAllSync(m, "/a/b/c"))
	got := outcomes(m, func(c *Mem) string {
		_, err := c.Stat("/a/b/c")
		return fmt.Sprint(err)
	})
	assert.Equal(t, map[string]int{"<nil>": 400}, got)
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(10)
	f, err := m.Create("f")
	require.NoError(t, err)
	_, err = f.Write([]byte("12345"))
	require.NoError(t, err)
	n, err := f.Write([]byte("1234567"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Equal(t, 5, n)
	free, err := m.FreeBytes("/")
	require.NoError(t, err)
	assert.Zero(t, free)
	require.NoError(t, f.Truncate(4))
	free, err = m.FreeBytes("/")
	require.NoError(t, err)
	assert.Equal(t, uint64(6), free)
	require.NoError(t, f.Close())
}
