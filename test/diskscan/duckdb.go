package diskscan

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// HasDuckDB reports whether node and the packages of test/interop are installed.
func HasDuckDB(tb testing.TB) bool {
	tb.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		return false
	}
	_, err := os.Stat(harness.Root(tb, "test", "interop", "node_modules", "@duckdb"))
	return err == nil
}

// duckDB looks at the names of columns and at each value that DuckDB reads from the Parquet files.
func (r *Report) duckDB(tb testing.TB, dir string, n *Needles) {
	tb.Helper()
	if !HasDuckDB(tb) {
		return
	}
	var list bytes.Buffer
	require.NoError(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		// Files that are not finished have no footer yet; the other ways look into them.
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".parquet" && filepath.Ext(filepath.Dir(path)) == "" {
			list.WriteString(path + "\n")
		}
		return err
	}))
	if list.Len() == 0 {
		return
	}
	cmd := exec.CommandContext(tb.Context(), "node", harness.Root(tb, "test", "interop", "dump.mjs")) //nolint:gosec // Ours.
	cmd.Stdin = &list
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(tb, err, "%s", stderr.String())
	r.Look(n, DuckDB, "values", out)
	r.Read[DuckDB] += bytes.Count(out, []byte("\n")) - 1
}
