package diskscan

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The ways in which a scan looks.
const (
	Raw    = "raw bytes"
	Frames = "zstd frames"
	Log    = "log records"
	Reader = "our reader"
	DuckDB = "DuckDB"
)

// Report is what a scan has found and where: by way, by the number of the text.
type Report struct {
	Found map[string]map[int]string
	// Read counts what was looked at, by way: files, frames, records, rows and values.
	Read map[string]int
}

// NewReport returns an empty report.
func NewReport() *Report {
	return &Report{Found: map[string]map[int]string{}, Read: map[string]int{}}
}

// Look searches data and notes finds under the way, with a place and the bytes around.
func (r *Report) Look(n *Needles, way, place string, data []byte) {
	r.Read[way]++
	n.Find(data, func(id, at int) {
		if r.Found[way] == nil {
			r.Found[way] = map[int]string{}
		}
		if _, ok := r.Found[way][id]; !ok {
			r.Found[way][id] = fmt.Sprintf("%s, offset %d: %q", place, at, data[max(0, at-40):min(len(data), at+60)])
		}
	})
}

// Merge adds what another report has found.
func (r *Report) Merge(o *Report) {
	for way, n := range o.Read {
		r.Read[way] += n
	}
	for way, found := range o.Found {
		if r.Found[way] == nil {
			r.Found[way] = map[int]string{}
		}
		maps.Copy(r.Found[way], found)
	}
}

// Live scans the files of a directory that a process may be writing: Raw, Frames and Log.
func Live(tb testing.TB, dir string, n *Needles) *Report {
	tb.Helper()
	r := NewReport()
	r.files(tb, snapshot(tb, dir), n)
	return r
}

// Store scans the directory of a trace store that no process uses, in all ways. DuckDB is left out, and missing in
// Read, where its packages are not installed.
func Store(tb testing.TB, dir string, n *Needles) *Report {
	tb.Helper()
	r := NewReport()
	copied := snapshot(tb, dir)
	r.files(tb, copied, n)
	r.duckDB(tb, copied, n)
	r.reader(tb, copied, n) // Last, as it writes.
	return r
}

func (r *Report) files(tb testing.TB, dir string, n *Needles) {
	tb.Helper()
	require.NoError(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // A file of the test.
		if err != nil {
			return err
		}
		r.Look(n, Raw, name, data)
		r.Look(n, Raw, "file name", []byte(name))
		r.frames(n, name, data)
		if filepath.Base(filepath.Dir(path)) == "wal" {
			r.log(n, name, data)
		}
		return nil
	}))
}

// snapshot copies a directory. What disappears while it is copied is left out.
func snapshot(tb testing.TB, dir string) string {
	tb.Helper()
	to := tb.TempDir()
	require.NoError(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(path, dir))
		if d.IsDir() {
			return os.MkdirAll(dst, 0o755) //nolint:gosec // A directory of the test.
		}
		data, err := os.ReadFile(path) //nolint:gosec // A file of the test.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(dst, data, 0o600) //nolint:gosec // Below the test's directory.
	}))
	return to
}
