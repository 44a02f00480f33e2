package liveconfig

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("LIVECONFIG_TEST_CHILD") != "" {
		os.Exit(childProcess())
	}
	goleak.VerifyTestMain(m)
}
