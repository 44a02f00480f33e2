package image

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rootIsReadOnly reads the container's mounts (proc_pid_mountinfo(5)).
func (c container) rootIsReadOnly(t *testing.T) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/" + c.pid + "/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 5 && fields[4] == "/" {
			return strings.HasPrefix(fields[5], "ro")
		}
	}
	t.Fatalf("no root among %s", mounts)
	return false
}

// memoryLimit is what the kernel enforces, in bytes, in cgroups of either version.
func (c container) memoryLimit(t *testing.T) string {
	t.Helper()
	groups, err := os.ReadFile("/proc/" + c.pid + "/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		file := ""
		switch {
		case len(parts) != 3:
		case parts[1] == "memory":
			file = filepath.Join("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")
		case parts[0] == "0":
			file = filepath.Join("/sys/fs/cgroup", parts[2], "memory.max")
		}
		if limit, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(limit))
		}
	}
	t.Fatalf("no limit of memory in %s", groups)
	return ""
}

// load sends 60,000 spans within the limit, and asks for the last trace whole.
func (c container) load(t *testing.T) {
	t.Helper()
	const requests, spans = 30, 2000
	file := filepath.Join(t.TempDir(), "spans.json")
	var trace string
	for range requests {
		trace = randomHex(t, 16)
		var body bytes.Buffer
		body.WriteString(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"load"}}]},"scopeSpans":[{"spans":[`)
		now := time.Now().UnixNano()
		for i := range spans {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"traceId":%q,"spanId":"%016x","name":"n","kind":1,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",
				"attributes":[{"key":"url.path","value":{"stringValue":"/things/%d"}}]}`, trace, i+1, now, now+1e6, i)
		}
		body.WriteString(`]}]}]}`)
		require.NoError(t, os.WriteFile(file, body.Bytes(), 0o600))
		out, err := c.curl(t, "http://localhost:4318/v1/traces", "-H", "Content-Type: application/json", "--data-binary", "@"+file)
		require.NoError(t, err, out)
	}
	out, err := c.curl(t, "http://localhost:3200/api/traces/"+trace)
	require.NoError(t, err)
	assert.Equal(t, spans, strings.Count(out, `"spanId"`))
	peak, err := os.ReadFile("/proc/" + c.pid + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(peak)) {
		if strings.HasPrefix(line, "VmHWM:") {
			t.Logf("%d spans stored; %s of %s bytes", requests*spans, strings.Join(strings.Fields(line), " "), memory)
		}
	}
}
