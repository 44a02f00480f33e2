package exthost_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	"github.com/bramble-tracing/bramble/internal/exthost"
)

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

type plain struct {
	component.StartFunc
	component.ShutdownFunc
}

type greeter struct{ plain }

func (greeter) Greet(context.Context) string { return "hello" }

type greets interface {
	Greet(ctx context.Context) string
}

func TestFind(t *testing.T) {
	var (
		store = component.MustNewID("trace_store")
		named = component.MustNewIDWithName("trace_store", "second")
		other = component.MustNewID("zpages")
	)
	h := host{store: greeter{}, other: plain{}}

	t.Run("found", func(t *testing.T) {
		g, err := exthost.Find[greets](h, store)
		require.NoError(t, err)
		require.Equal(t, "hello", g.Greet(t.Context()))
	})
	tests := []struct {
		name string
		host component.Host
		id   component.ID
		is   error
		says []string
	}{
		{"a name is part of the id", h, named, exthost.ErrNotFound, []string{
			`"trace_store/second"`, "`extensions:`", "`service: extensions:`", "enabled now: trace_store, zpages",
		}},
		{"no extension at all", host{}, store, exthost.ErrNotFound, []string{"no extension is enabled"}},
		{"no host", nil, store, exthost.ErrNotFound, []string{"without a host"}},
		{"another kind of extension", h, other, exthost.ErrWrongKind, []string{`type "zpages"`, "exthost_test.greets"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := exthost.Find[greets](tt.host, tt.id)
			require.ErrorIs(t, err, tt.is)
			for _, s := range tt.says {
				require.ErrorContains(t, err, s)
			}
		})
	}
}
