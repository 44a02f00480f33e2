package jaegerapi

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/traceql"
)

func TestTraceQL(t *testing.T) { // J-03, J-04, J-24
	tag := func(key, value string) traceQuery { return traceQuery{tags: map[string]string{key: value}} }
	for _, tc := range []struct {
		q    traceQuery
		want string
	}{
		{traceQuery{}, `{ }`},
		{traceQuery{service: `a"b\`, operation: "GET /x"}, `{ resource.service.name = "a\"b\\" && name = "GET /x" }`},
		{traceQuery{minDuration: 1500 * time.Microsecond, maxDuration: time.Second}, `{ duration >= 1500000ns && duration <= 1000000000ns }`},
		{traceQuery{tags: map[string]string{"b": "x", "a": "y"}}, `{ ."a" = "y" && ."b" = "x" }`},
		{tag("code", "200"), `{ (."code" = "200" || ."code" = 200) }`},
		{tag("code", "-1"), `{ (."code" = "-1" || ."code" = -1) }`},
		{tag("code", "0.5"), `{ (."code" = "0.5" || ."code" = 0.5) }`},
		{tag("code", "1e3"), `{ (."code" = "1e3" || ."code" = 1000.0) }`},
		{tag("code", "NaN"), `{ ."code" = "NaN" }`},
		{tag("code", "0x10"), `{ ."code" = "0x10" }`},
		{tag("yes", "true"), `{ (."yes" = "true" || ."yes" = true) }`},
		{tag("span.kind", "SERVER"), `{ kind = server }`},
		{tag("span.kind", "odd"), `{ ."span.kind" = "odd" }`},
		{tag("error", "true"), `{ status = error }`},
		{tag("error", "false"), `{ status != error }`},
		{tag("error", "timeout"), `{ ."error" = "timeout" }`},
		{tag("otel.status_code", "OK"), `{ status = ok }`},
		{tag("otel.status_description", "x"), `{ statusMessage = "x" }`},
		{tag("otel.scope.name", "lib"), `{ instrumentation:name = "lib" }`},
		{tag("otel.library.version", "1"), `{ instrumentation:version = "1" }`},
		{tag("event", "boom"), `{ (event:name = "boom" || ."event" = "boom") }`},
		{tag(`we"ird \key`, "x"), `{ ."we\"ird \\key" = "x" }`},
	} {
		require.Equal(t, tc.want, tc.q.traceQL())
		_, err := traceql.Compile(tc.want)
		require.NoError(t, err, tc.want)
	}
}

// FuzzTraceQL: whatever is asked for becomes a query that compiles, and nothing of it is read as TraceQL.
func FuzzTraceQL(f *testing.F) {
	f.Add("shop", "GET /x", "http.status_code", "200", int64(5))
	f.Add(`"`, `\`, "`", "\n", int64(-1))
	f.Add("", "", "", "1e400", int64(0))
	f.Add("a", "b", "error", "true", int64(1))
	f.Fuzz(func(t *testing.T, service, operation, key, value string, duration int64) {
		if !utf8.ValidString(service) || !utf8.ValidString(operation) || !utf8.ValidString(key) || !utf8.ValidString(value) || key == "" {
			t.Skip("JSON and protobuf have no such text; an empty key is refused")
		}
		q := traceQuery{service: service, operation: operation, tags: map[string]string{key: value}, minDuration: time.Duration(max(0, duration))}
		_, err := traceql.Compile(q.traceQL())
		require.NoError(t, err, q.traceQL())
	})
}
