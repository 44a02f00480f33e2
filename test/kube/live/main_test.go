package live

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/test/kube/plane"
)

func TestMain(m *testing.M) {
	plane.Isolate()
	goleak.VerifyTestMain(m)
}
