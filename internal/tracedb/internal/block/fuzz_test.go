package block

import (
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// FuzzMeta opens a block whose meta.json is arbitrary but has the right checksum, and asks it for everything.
func FuzzMeta(f *testing.F) {
	fs := fsx.NewMem()
	b := nastyBlock(f, fs, 20)
	predicates := somePredicates(b, 4)
	orig, err := fsx.ReadFile(fs, "blocks/x/meta.json")
	require.NoError(f, err)
	f.Add(orig[metaHeadLen:])
	r := newTestReader(f, fs)
	f.Fuzz(func(t *testing.T, body []byte) {
		data := append(fmt.Appendf(nil, metaHead, crc32.Checksum(body, column.Castagnoli)), body...)
		replaceFile(t, fs, "blocks/x/meta.json", data)
		_, err := answers(r, predicates)
		if err != nil {
			if _, ok := errors.AsType[*store.CorruptionError](err); !ok {
				t.Fatalf("not a corruption error: %v", err)
			}
		}
	})
}
