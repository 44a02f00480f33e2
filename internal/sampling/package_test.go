package sampling_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full reports whether the long variants of tests run.
func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }
