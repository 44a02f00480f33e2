package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtelemetry"
	"go.opentelemetry.io/collector/service/telemetry"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registerable is what the zPages extension looks for in a tracer provider.
type registerable interface {
	RegisterSpanProcessor(sdktrace.SpanProcessor)
	UnregisterSpanProcessor(sdktrace.SpanProcessor)
}

func provider(t *testing.T, change func(*otelconftelemetry.Config)) telemetry.TracerProvider {
	t.Helper()
	f := NewFactory()
	cfg := f.CreateDefaultConfig().(*otelconftelemetry.Config)
	change(cfg)
	res, err := f.CreateResource(t.Context(), telemetry.Settings{}, cfg)
	require.NoError(t, err)
	tp, err := f.CreateTracerProvider(t.Context(), telemetry.TracerSettings{
		Settings: telemetry.Settings{Resource: &res}, Logger: zap.NewNop(),
	}, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tp.Shutdown(context.Background())) })
	return tp
}

func TestDefaultProviderFeedsSpanProcessors(t *testing.T) {
	tp := provider(t, func(*otelconftelemetry.Config) {})
	sr := tracetest.NewSpanRecorder()
	require.Implements(t, (*registerable)(nil), tp)
	tp.(registerable).RegisterSpanProcessor(sr)
	_, span := tp.Tracer("test").Start(t.Context(), "op")
	span.End()
	require.Len(t, sr.Ended(), 1)
	assert.Equal(t, "op", sr.Ended()[0].Name())
}

func TestNoneStaysOff(t *testing.T) {
	tp := provider(t, func(c *otelconftelemetry.Config) { c.Traces.Level = configtelemetry.LevelNone })
	_, span := tp.Tracer("test").Start(t.Context(), "op")
	assert.False(t, span.IsRecording())
}

func TestRateSampler(t *testing.T) {
	now := time.Unix(100, 0)
	s := newRateSampler(2, func() time.Time { return now })
	count := func() (n int) {
		for range 5 {
			if s.ShouldSample(sdktrace.SamplingParameters{ParentContext: t.Context(), TraceID: trace.TraceID{1}}).Decision == sdktrace.RecordAndSample {
				n++
			}
		}
		return n
	}
	assert.Equal(t, 2, count())
	assert.Equal(t, 0, count(), "the second's share is used up")
	now = now.Add(time.Second)
	assert.Equal(t, 2, count())
}
