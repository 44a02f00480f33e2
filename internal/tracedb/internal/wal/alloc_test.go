//go:build !race

package wal

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
)

// TestAppendDoesNotAllocate: in steady state nothing per append. The race detector makes sync.Pool forget on purpose.
func TestAppendDoesNotAllocate(t *testing.T) {
	w, err := Open(fsx.OS{}, filepath.Join(t.TempDir(), "wal"), Options{Sync: SyncOff})
	require.NoError(t, err)
	p := []byte(payload(1, 20_000))
	ctx := context.Background()
	n := testing.AllocsPerRun(500, func() {
		if _, err := w.Append(ctx, p); err != nil {
			t.Error(err)
		}
	})
	assert.Zero(t, n)
	require.NoError(t, w.Close())
}
