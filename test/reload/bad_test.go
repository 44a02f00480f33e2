package reload

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// edit is one bad edit. Either text replaces the file, or do does something else to it.
type edit struct {
	name string
	text string
	do   func(path string) error
	// want is in the reason.
	want string
	// outcome is rejected, unless it can only be found by running it.
	outcome string
}

// TestBadEdits makes all of them, one after the other, on one process under load: it runs on with what it had, says
// what was wrong, and loses nothing.
func TestBadEdits(t *testing.T) {
	s := start(t)
	before, err := s.status()
	require.NoError(t, err)
	pid := s.PID()
	l := startLoad(t, s.Bramble, "grpc", 1000)
	edits := badEdits(t, s)
	require.GreaterOrEqual(t, len(edits), 40)
	seen := len(before.History)
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(s.path))
			if e.do != nil {
				require.NoError(t, e.do(s.path))
			} else {
				require.NoError(t, os.WriteFile(s.path, []byte(e.text), 0o600))
			}
			s.t = t
			defer func() { seen = s.count() }()
			r := s.next(seen)
			want := e.outcome
			if want == "" {
				want = "rejected"
			}
			if want == "rolled_back" {
				require.Equal(t, "applied", r.Outcome, r.Reason)
				r = s.next(seen + 1)
			}
			assert.Equal(t, want, r.Outcome)
			assert.Contains(t, r.Reason, e.want)
			require.True(t, s.Running(), "the process goes on")
			st, err := s.status()
			require.NoError(t, err)
			assert.Equal(t, before.Hash, st.Hash, "what runs is not changed")
			assert.False(t, st.OK)
		})
	}
	s.t = t
	assert.Equal(t, pid, s.PID())
	s.write(s.good)
	harness.Poll(t, 60e9, "the good file to count", func() error {
		st, err := s.status()
		if err == nil && !st.OK {
			err = assert.AnError
		}
		return err
	})
	gaveUp := l.check(t, s.Bramble)
	assert.Zero(t, gaveUp)
	t.Logf("%d bad edits under load: 0 process exits, %d spans acknowledged, 0 missing", len(edits), l.acks.Spans())
}

func badEdits(t *testing.T, s *subject) []edit {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	taken := l.Addr().String()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = udp.Close() })
	notAKey := file("not-a-key.pem", "hello")
	set := s.edited
	line := func(old, replacement string) string {
		require.Contains(t, s.good, old)
		return strings.Replace(s.good, old, replacement, 1)
	}
	out := []edit{
		{name: "YAML: unclosed brace", text: s.good + "\nx: {\n", want: "config.yaml"},
		{name: "YAML: tab", text: "receivers:\n\totlp:\n", want: "line 2"},
		{name: "YAML: bad indentation", text: line("  otlp:\n", " otlp:\n   - a\n"), want: "config.yaml"},
		{name: "YAML: unclosed quote", text: s.good + "\nx: \"y\n", want: "config.yaml"},
		{name: "duplicate key", text: s.good + "\nreceivers: {}\n", want: `mapping key "receivers" already defined at line`},
		{name: "duplicate key below", text: line("  pii: {}\n", "  pii: {}\n  pii: {}\n"), want: `mapping key "pii" already defined`},
		{name: "empty", text: "", want: "config.yaml"},
		{name: "only comments", text: "# nothing\n", want: "service::pipelines"},
		{name: "a list", text: "- a\n- b\n", want: "config.yaml"},
		{name: "a word", text: "hello\n", want: "config.yaml"},
		{name: "truncated", text: s.good[:len(s.good)/3], want: "service"},
		{name: "truncated in a word", text: s.good[:strings.Index(s.good, "processors: [memory")+20], want: "config.yaml"},
		{name: "binary garbage", text: "\x00\x01\x02\xff\xfe" + strings.Repeat("\x90", 1000), want: "config.yaml"},
		{name: "5 MB", text: s.good + strings.Repeat("# padding\n", 500_000), want: "too large"},
		{name: "deep nesting", text: strings.Repeat("{a: ", 20_000), want: "config.yaml"},
		{name: "alias bomb", text: bomb(), want: "config.yaml"},
		{name: "symlink loop", do: func(p string) error { return os.Symlink(filepath.Base(p), p) }, want: "config.yaml"},
		{name: "dangling symlink", do: func(p string) error { return os.Symlink("/does/not/exist", p) }, want: "config.yaml"},
		{name: "a directory", do: func(p string) error { return os.Mkdir(p, 0o700) }, want: "is a directory"},
		{name: "unknown top level", text: set("recievers", map[string]any{}), want: "recievers"},
		{name: "unknown receiver", text: set("receivers::otpl", nil), want: `"otpl"`},
		{name: "unknown processor", text: set("processors::pi", nil), want: `"pi"`},
		{name: "unknown exporter", text: set("exporters::tempo", nil), want: `"tempo"`},
		{name: "unknown extension", text: set("extensions::trace_stor", nil), want: `"trace_stor"`},
		{name: "OpenCensus", text: set("receivers::opencensus", nil), want: `"opencensus"`},
		{name: "unknown field", text: set("extensions::trace_store::retention::max_agee", "72h"), want: "max_agee"},
		{name: "unknown field of a processor", text: set("processors::memory_limiter::chek_interval", "1s"), want: "chek_interval"},
		{name: "wrong type", text: set("receivers::otlp::protocols::grpc::max_recv_msg_size_mib", "much"), want: "max_recv_msg_size_mib"},
		{name: "bad duration", text: set("extensions::trace_store::retention::max_age", "three days"), want: "max_age"},
		{name: "out of range", text: set("extensions::trace_store::memory::limit_percentage", 99), want: "extensions::trace_store: memory::limit_percentage"},
		{name: "age below the window", text: set("extensions::trace_store::retention::max_age", "1m"), want: "retention::max_age"},
		{name: "pipeline without receivers", text: set("service::pipelines::traces::receivers", []string{}), want: "pipelines::traces"},
		{name: "pipeline names what is not defined", text: set("service::pipelines::traces::processors", []string{"batch"}), want: `processor "batch"`},
		{name: "extension that is not defined", text: set("service::extensions", []string{"trace_store", "trace_query", "pprof"}), want: `"pprof"`},
		{name: "no pipelines", text: set("service::pipelines", map[string]any{}), want: "pipelines"},
		{name: "bad pipeline name", text: set("service::pipelines::spans", map[string]any{"receivers": []string{"otlp"}, "exporters": []string{"trace_store"}}), want: "spans"},
		{name: "connector as exporter only", text: set("service::pipelines::metrics::receivers", []string{"otlp"}), want: "trace_metrics"},
		{name: "missing variable", text: set("extensions::trace_store/2", map[string]any{"directory": "${env:BRAMBLE_NOT_SET}"}, "service::extensions+", "trace_store/2"), want: "BRAMBLE_NOT_SET is not set"},
		{name: "bad name of a variable", text: set("exporters::prometheus::namespace", "${env:1 HOST}"), want: "1 HOST"},
		{name: "unknown scheme", text: set("exporters::prometheus::namespace", "${vault:x}"), want: "vault"},
		{name: "missing include", text: set("processors::pii", "${file:/does/not/exist.yaml}"), want: "/does/not/exist.yaml"},
		{name: "bad include", text: set("processors::pii", "${file:"+file("part.yaml", "mode: [\n")+"}"), want: "pii"},
		{name: "port in use", text: set("receivers::otlp/2", map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": taken}}}, "service::pipelines::traces::receivers+", "otlp/2"), want: "receivers::otlp/2::protocols::http: cannot listen"},
		{name: "address of another host", text: set("receivers::otlp/2", map[string]any{"protocols": map[string]any{"grpc": map[string]any{"endpoint": "192.0.2.1:4317"}}}, "service::pipelines::traces::receivers+", "otlp/2"), want: "cannot listen"},
		{name: "TLS files missing", text: set("receivers::otlp/2", tlsReceiver("/no/cert.pem", "/no/key.pem"), "service::pipelines::traces::receivers+", "otlp/2"), want: "/no/cert.pem"},
		{name: "TLS files bad", text: set("receivers::otlp/2", tlsReceiver(notAKey, notAKey), "service::pipelines::traces::receivers+", "otlp/2"), want: "receivers::otlp/2::protocols::grpc"},
		{name: "bad regular expression", text: set("processors::redaction", map[string]any{"blocked_values": []string{"a(b"}}, "service::pipelines::traces::processors+", "redaction"), want: "redaction"},
		{name: "bad pattern of pii", text: set("processors::pii::rules", map[string]any{"mine": map[string]any{"patterns": []string{"a(b"}}}), want: "processors::pii"},
		{name: "bad OTTL", text: set("processors::transform", map[string]any{"trace_statements": []string{"set(span.attributes["}}, "service::pipelines::traces::processors+", "transform"), want: "transform"},
		{name: "bad TraceQL in a policy", text: set("processors::tail_sampling::policies", []any{map[string]any{"name": "mine", "type": "traceql", "traceql": map[string]any{"query": "{ status = }"}}}), want: "mine"},
		{name: "unknown policy", text: set("processors::tail_sampling::policies", []any{map[string]any{"name": "mine", "type": "latencyy"}}), want: "latencyy"},
		{name: "policies that only spans in memory can have", text: set("processors::tail_sampling::policies", []any{map[string]any{"name": "mine", "type": "ottl_condition", "ottl_condition": map[string]any{"span": []string{"true"}}}}), want: "ottl_condition"},
		{name: "policies file missing", text: set("processors::tail_sampling", map[string]any{"store": "trace_store", "policies_file": "/does/not/exist.yaml"}), want: "policies_file"},
		{name: "rules file missing", text: set("processors::pii::rules_file", "/does/not/exist.yaml"), want: "rules_file"},
		{name: "store that is not there", text: set("exporters::trace_store::store", "trace_store/none"), outcome: "rolled_back", want: "trace_store/none"},
		{name: "fails when it starts", text: set("exporters::file", map[string]any{"path": "/does/not/exist/spans.json"}, "service::pipelines::traces::exporters+", "file"), outcome: "rolled_back", want: "/does/not/exist"},
	}
	if os.Getuid() == 0 {
		// Root may write anywhere; a file in the place of a directory stops it too.
		out = append(out, edit{name: "directory that is a file", text: set("extensions::trace_store/2", map[string]any{"directory": notAKey}, "service::extensions+", "trace_store/2"), want: "is not a directory"})
	} else {
		out = append(out, edit{name: "directory that cannot be written", text: set("extensions::trace_store/2", map[string]any{"directory": "/"}, "service::extensions+", "trace_store/2"), want: "cannot be written"})
	}
	return out
}

func tlsReceiver(cert, key string) map[string]any {
	return map[string]any{"protocols": map[string]any{"grpc": map[string]any{"endpoint": "127.0.0.1:0", "tls": map[string]any{"cert_file": cert, "key_file": key}}}}
}

// bomb is a YAML document of nine levels of aliases, which would expand to a billion values.
func bomb() string {
	b := strings.Builder{}
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	prev := "a0"
	for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"} {
		b.WriteString(name + ": &" + name + " [" + strings.TrimSuffix(strings.Repeat("*"+prev+", ", 10), ", ") + "]\n")
		prev = name
	}
	return b.String()
}
