package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/bramble-tracing/bramble/test/harness"
)

// full reports whether slow tests shall run and missing programs are errors.
func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// local starts the binary with the shipped configuration for laptops.
func local(t *testing.T) *harness.Bramble {
	t.Helper()
	return harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}})
}

// program returns the path of a program, or skips the test and says how to get it.
func program(t *testing.T, name, how string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if full() {
			t.Fatalf("%s is missing: %s", name, how)
		}
		t.Skipf("%s is missing: %s", name, how)
	}
	return path
}

// curl runs curl, silently and bounded in time, and returns what it wrote to standard output.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	bin := program(t, "curl", "install the package curl")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"-sS", "--max-time", "30"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "curl %q: %s", args, stderr.String())
	return stdout.String()
}

// randomHex returns n random bytes as hex, like `openssl rand -hex n`.
func randomHex(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// attr returns the string value of an attribute of a span, or "" when it has none.
func attr(s *tracepb.Span, key string) string {
	for _, kv := range s.GetAttributes() {
		if kv.GetKey() == key {
			return kv.GetValue().GetStringValue()
		}
	}
	return ""
}

// byName returns the spans of a trace by their names, which must be distinct.
func byName(t *testing.T, td *tracepb.TracesData) map[string]*tracepb.Span {
	t.Helper()
	spans := map[string]*tracepb.Span{}
	for _, s := range harness.Spans(td) {
		require.NotContains(t, spans, s.GetName(), "two spans have the name")
		spans[s.GetName()] = s
	}
	return spans
}

// services returns the values of service.name by the names of the spans.
func services(td *tracepb.TracesData) map[string]string {
	out := map[string]string{}
	for _, rs := range td.GetResourceSpans() {
		name := ""
		for _, kv := range rs.GetResource().GetAttributes() {
			if kv.GetKey() == "service.name" {
				name = kv.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				out[s.GetName()] = name
			}
		}
	}
	return out
}
