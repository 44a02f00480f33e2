//go:build !linux

package harness

import "testing"

// Tmpfs skips the test: there is no tmpfs here.
func Tmpfs(tb testing.TB, _ int) string {
	tb.Helper()
	tb.Skip("a disk that fills up is a small tmpfs, which needs Linux")
	return ""
}

// Available skips the test.
func Available(tb testing.TB, _ string) int64 {
	tb.Helper()
	tb.Skip("the free space of a small tmpfs needs Linux")
	return 0
}
