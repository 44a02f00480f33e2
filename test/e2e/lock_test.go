package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/bramble-tracing/bramble/test/harness"
)

// TestSecondProcessIsRefused starts a second process on the data directory of a running one: it ends at once, says why
// and names the directory, and the first one is none the worse.
func TestSecondProcessIsRefused(t *testing.T) {
	first := local(t)
	td := everyField(t)
	sendGRPC(t, first, td)

	started := time.Now()
	code, output := harness.Run(t, harness.Config{Files: []string{"config/local.yaml"}, Data: first.Data})
	assert.NotZero(t, code)
	assert.Less(t, time.Since(started), 10*time.Second, "the second process must end at once")
	assert.Contains(t, output, first.Data, "the message must name the directory")
	assert.Regexp(t, `(?i)another process|in use|locked`, output)
	assert.NotContains(t, output, "panic")
	t.Logf("it ended after %s", time.Since(started).Round(time.Millisecond))

	assert.True(t, first.Running())
	requireSame(t, td, first.Trace(harness.Spans(td)[0].GetTraceId()))
	first.Stop()
	first.Restart()
	requireSame(t, td, first.Trace(harness.Spans(td)[0].GetTraceId()))
}

// TestUnusableDirectory gives a file as the data directory: the process ends and says which path it cannot use.
func TestUnusableDirectory(t *testing.T) {
	file := t.TempDir() + "/file"
	assert.NoError(t, os.WriteFile(file, []byte("not a directory"), 0o600))
	code, output := harness.Run(t, harness.Config{
		Files:   []string{"config/local.yaml"},
		Overlay: harness.Set("extensions::trace_store::directory", file),
	})
	assert.NotZero(t, code)
	assert.Contains(t, output, file)
	assert.NotContains(t, output, "panic")
}
