//go:build unix

package otlpspan_test

import (
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// load is one request of the reference workload with three more attributes a span, about 12 in all.
func load(b *testing.B) (*store.Batch, ptrace.Traces, []byte) {
	b.Helper()
	raw := testkit.NewGenerator(1).Batch(1000)
	for i := range raw.Spans {
		raw.Spans[i].Attrs = append(raw.Spans[i].Attrs,
			store.Attr{Key: "bench.a", Value: store.String("some value")},
			store.Attr{Key: "bench.b", Value: store.Int(int64(i))},
			store.Attr{Key: "bench.c", Value: store.Bool(true)})
	}
	td, err := otlpspan.Build(raw)
	if err != nil {
		b.Fatal(err)
	}
	var rows store.Batch
	if err := otlpspan.Flatten(td, &rows); err != nil {
		b.Fatal(err)
	}
	enc, err := otlpspan.AppendProto(nil, &rows)
	if err != nil {
		b.Fatal(err)
	}
	return &rows, td, enc
}

// perSpan runs f, which handles one request, and reports the CPU time per span, of all threads and with garbage
// collection: unlike the elapsed time it means something on a busy machine.
func perSpan(b *testing.B, spans int, f func() error) {
	b.Helper()
	b.ReportAllocs()
	before := cpuNanos(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuNanos(b)-before)/float64(b.N*spans), "cpu-ns/span")
}

func cpuNanos(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkFlatten(b *testing.B) {
	rows, td, _ := load(b)
	b.Run("fresh", func(b *testing.B) {
		perSpan(b, len(rows.Spans), func() error {
			var dst store.Batch
			return otlpspan.Flatten(td, &dst)
		})
	})
	b.Run("arena", func(b *testing.B) {
		var arena otlpspan.Arena
		var dst store.Batch
		perSpan(b, len(rows.Spans), func() error {
			dst.Reset()
			arena.Reset()
			return arena.Flatten(td, &dst)
		})
	})
}

func BenchmarkAppendProto(b *testing.B) {
	rows, td, _ := load(b)
	b.Run("rows", func(b *testing.B) {
		var buf []byte
		perSpan(b, len(rows.Spans), func() (err error) {
			buf, err = otlpspan.AppendProto(buf[:0], rows)
			return err
		})
	})
	b.Run("pdata", func(b *testing.B) {
		perSpan(b, len(rows.Spans), func() error {
			_, err := new(ptrace.ProtoMarshaler).MarshalTraces(td)
			return err
		})
	})
}

func BenchmarkReadProto(b *testing.B) {
	rows, _, enc := load(b)
	b.Run("fresh", func(b *testing.B) {
		perSpan(b, len(rows.Spans), func() error {
			var dst store.Batch
			return otlpspan.ReadProto(enc, &dst)
		})
	})
	b.Run("arena", func(b *testing.B) {
		var arena otlpspan.Arena
		var dst store.Batch
		perSpan(b, len(rows.Spans), func() error {
			dst.Reset()
			arena.Reset()
			return arena.ReadProto(enc, &dst)
		})
	})
	b.Run("pdata", func(b *testing.B) {
		perSpan(b, len(rows.Spans), func() error {
			_, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(enc)
			return err
		})
	})
}

func BenchmarkBuild(b *testing.B) {
	rows, _, _ := load(b)
	perSpan(b, len(rows.Spans), func() error {
		_, err := otlpspan.Build(rows)
		return err
	})
}
