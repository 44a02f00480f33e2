package jaegerapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
)

// TestDependencies counts direct children across services only, each in the service that it belongs to.
func TestDependencies(t *testing.T) {
	s := oracle.New(4)
	named := func(name string) store.Resource {
		return store.Resource{Attrs: []store.Attr{{Key: "service.name", Value: store.String(name)}}}
	}
	b := &store.Batch{Resources: []store.Resource{named("a"), named(`b"x`), named("c"), {}}, Scopes: make([]store.Scope, 1)}
	add := func(trace, id, parent byte, resource int32, start time.Duration) {
		b.Spans = append(b.Spans, store.Span{
			TraceID: spanid.TraceID{trace}, SpanID: spanid.SpanID{id}, ParentID: spanid.SpanID{parent}, Resource: resource,
			StartNano: uint64(start), EndNano: uint64(start) + 1,
		})
	}
	add(1, 1, 0, 0, time.Second) // a
	add(1, 2, 1, 0, time.Second) // a → a: no call
	add(1, 3, 2, 1, time.Second) // a → b
	add(1, 4, 2, 1, time.Second) // a → b
	add(1, 5, 4, 2, time.Second) // b → c
	add(1, 6, 5, 0, time.Second) // c → a
	add(1, 7, 1, 3, time.Second) // a service without a name
	add(1, 8, 9, 2, time.Second) // no parent
	add(2, 1, 0, 0, time.Hour)
	add(2, 2, 1, 2, time.Hour) // a → c, later
	require.NoError(t, s.Append(t.Context(), b))
	a := New(query.New(s, query.Limits{MaxSearchRange: 2 * time.Hour}), Options{})

	at := func(d time.Duration) time.Time { return time.Unix(0, int64(d)) }
	got, err := a.dependencies(t.Context(), "", at(0), at(time.Minute))
	require.NoError(t, err)
	require.Equal(t, []dependency{{"a", `b"x`, 2}, {`b"x`, "c", 1}, {"c", "a", 1}}, got)
	got, err = a.dependencies(t.Context(), "", at(0), at(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []dependency{{"a", `b"x`, 2}, {"a", "c", 1}, {`b"x`, "c", 1}, {"c", "a", 1}}, got)

	_, err = a.dependencies(t.Context(), "", at(0), at(3*time.Hour))
	require.Equal(t, query.KindInvalid, query.KindOf(err))
	require.ErrorContains(t, err, "longer than the limit of 2h0m0s")
}
