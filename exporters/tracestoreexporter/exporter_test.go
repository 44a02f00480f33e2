package tracestoreexporter

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bramble-tracing/bramble/exporters/tracestoreexporter/internal/metadata"
	"github.com/bramble-tracing/bramble/internal/exthost"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// storeExtension is the oracle as an extension; with err set it refuses everything.
type storeExtension struct {
	component.StartFunc
	component.ShutdownFunc
	*oracle.Store
	err error
}

func (s *storeExtension) Append(ctx context.Context, b *store.Batch) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Append(ctx, b)
}

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func start(t *testing.T, ext *storeExtension) exporter.Traces {
	t.Helper()
	exp, err := NewFactory().CreateTraces(t.Context(), exportertest.NewNopSettings(metadata.Type), createDefaultConfig())
	require.NoError(t, err)
	require.NoError(t, exp.Start(t.Context(), host{component.MustNewID("trace_store"): ext}))
	t.Cleanup(func() { require.NoError(t, exp.Shutdown(context.Background())) })
	return exp
}

func oneSpan() ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID([16]byte{15: 7})
	span.SetSpanID([8]byte{7: 9})
	span.SetName("GET /cart")
	return td
}

func TestAcknowledgedMeansStored(t *testing.T) {
	ext := &storeExtension{Store: oracle.New(0)}
	exp := start(t, ext)
	assert.False(t, exp.Capabilities().MutatesData)
	require.NoError(t, exp.ConsumeTraces(t.Context(), ptrace.NewTraces()), "nothing to store is no error")
	require.NoError(t, exp.ConsumeTraces(t.Context(), oneSpan()))

	view, err := ext.View()
	require.NoError(t, err)
	defer view.Release()
	tr, err := view.Trace(t.Context(), spanid.TraceID{15: 7}, 0)
	require.NoError(t, err)
	require.Len(t, tr.Spans, 1)
	assert.Equal(t, "GET /cart", tr.Spans[0].Name)
	assert.Equal(t, []store.Attr{{Key: "service.name", Value: store.String("shop")}}, tr.Resources[0].Attrs)
}

func TestErrorsTellTheClientWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		err       error
		permanent bool
	}{
		{fmt.Errorf("append: %w", store.ErrFull), false},
		{store.ErrClosed, false},
		{errors.New("input/output error"), false},
		{context.DeadlineExceeded, false},
		{fmt.Errorf("append: %w", store.ErrTooLarge), true},
		{store.ErrInvalid, true},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			exp := start(t, &storeExtension{Store: oracle.New(0), err: tc.err})
			err := exp.ConsumeTraces(t.Context(), oneSpan())
			require.ErrorContains(t, err, tc.err.Error())
			assert.Equal(t, tc.permanent, consumererror.IsPermanent(err))
			// The OTLP receiver answers an error without a status with Unavailable, which SDKs retry.
			s, has := status.FromError(err)
			assert.Equal(t, tc.permanent, has)
			if tc.permanent {
				assert.Equal(t, codes.InvalidArgument, s.Code())
			}
		})
	}
}

func TestTooDeepIsRefusedForGood(t *testing.T) {
	exp := start(t, &storeExtension{Store: oracle.New(0)})
	td := oneSpan()
	v := td.ResourceSpans().At(0).Resource().Attributes().PutEmpty("deep")
	for range store.MaxDepth + 2 {
		v = v.SetEmptySlice().AppendEmpty()
	}
	err := exp.ConsumeTraces(t.Context(), td)
	require.ErrorContains(t, err, "deep")
	assert.True(t, consumererror.IsPermanent(err))
}

func TestMissingStore(t *testing.T) {
	exp, err := NewFactory().CreateTraces(t.Context(), exportertest.NewNopSettings(metadata.Type), createDefaultConfig())
	require.NoError(t, err)
	err = exp.Start(t.Context(), componenttest.NewNopHost())
	require.ErrorIs(t, err, exthost.ErrNotFound)
	require.ErrorContains(t, err, `add "trace_store"`)
}
