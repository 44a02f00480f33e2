package wal

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// update writes the golden files of a new format version. Those of a released version are never written again.
var update = flag.Bool("update", false, "write golden files that do not exist")

// goldenEntries are the records in testdata/v1.
func goldenEntries() []entry {
	return []entry{
		{1, "hello, span"},
		{2, ""},
		{3, strings.Repeat("http.route=/cart ", 20)},
		{4, noise(4, 40_000)},
		{5, payload(5, pageBytes-100) + noise(5, 70_000)},
		{6, "in the second segment"},
	}
}

// TestGoldenV1 reads segments that the first release wrote.
func TestGoldenV1(t *testing.T) {
	const dir = "testdata/v1"
	if _, err := os.Stat(dir); *update && os.IsNotExist(err) {
		writeGolden(t, dir)
	}
	fsys := fsx.NewMem()
	for _, name := range []string{"00000001", "00000002"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		put(t, fsys, name, data)
	}
	w := open(t, fsys, Options{})
	got, st := replayAll(t, w)
	assert.Equal(t, goldenEntries(), got)
	assert.True(t, st.Healthy())
	assert.Zero(t, st.Torn)
	assert.Equal(t, uint64(7), add(t, w, "and it can be continued"))
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	w, err := Open(fsx.OS{}, dir, Options{})
	require.NoError(t, err)
	for _, e := range goldenEntries() {
		if e.seq == 6 {
			require.NoError(t, w.Rotate())
		}
		require.Equal(t, e.seq, add(t, w, e.payload))
	}
	require.NoError(t, w.Close())
}

// TestDocumentedExample checks the bytes in docs/format/wal.md.
func TestDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/format/wal.md")
	require.NoError(t, err)
	var data []byte
	for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+) `).FindAllStringSubmatch(string(doc), -1) {
		off, err := hex.DecodeString(m[1])
		require.NoError(t, err)
		require.Equal(t, len(data), int(off[0])<<8|int(off[1]), "offsets of the example follow each other: %s", m[0])
		b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		require.NoError(t, err)
		data = append(data, b...)
	}
	require.NotEmpty(t, data)

	want := segmentHeader{number: 1, prevSeq: 0, firstSeq: 1}.encode()
	rec := encodeRecord(nil, []byte("hello, span"))
	setSeq(rec, 1)
	want = appendFragments(want, int64(len(want)), 1, rec)
	require.Greater(t, len(data), len(want))
	assert.Equal(t, want, data[:len(want)], "header and first record are what the code writes")

	fsys := fsx.NewMem()
	put(t, fsys, "00000001", data)
	got, st := replayAll(t, open(t, fsys, Options{}))
	assert.Equal(t, []entry{{1, "hello, span"}, {2, strings.Repeat("http.route=/cart ", 20)}}, got)
	assert.True(t, st.Healthy())
	assert.Zero(t, st.Torn)
	// The numbers in the tables of the text.
	for _, s := range []string{
		"| 0 | 8 | `BRMBLWAL` |", "32768", "40 bytes", "7 bytes", "17 bytes", "fewer than 8 bytes",
	} {
		assert.Contains(t, string(doc), s)
	}
	assert.Equal(t, []int{32768, 40, 7, 17, 8}, []int{pageBytes, segmentHeaderBytes, fragmentBytes, recordHeaderBytes, minFragment})
}
