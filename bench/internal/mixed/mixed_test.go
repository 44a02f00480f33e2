package mixed

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/test/harness"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// TestUnderLoad: 50 clients ask while 20,000 spans a second arrive; every answer is consistent and none fails. With
// little memory for the store, so that heads become blocks meanwhile.
func TestUnderLoad(t *testing.T) {
	o := Options{Clients: 50, Rate: 20_000, Duration: 4 * time.Second, Think: 400 * time.Millisecond}
	if os.Getenv("BRAMBLE_FULL") != "" {
		o.Duration, o.Think = time.Minute, 50*time.Millisecond
	}
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: harness.Set("extensions::trace_store::memory::limit_mib", 32)})
	o.OTLP, o.Query = b.GRPC(), b.QueryAddr()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	require.NoError(t, err)
	var text strings.Builder
	r.Print(&text)
	t.Log("\n" + text.String())
	assert.Zero(t, r.Failures, "%s", text.String())
	for _, k := range r.Kinds {
		assert.Positive(t, k.Asked, k.Name)
	}
	assert.Positive(t, r.Spans)
	assert.Empty(t, b.Log.Lines("panic"))
}
