package gathered_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/gathered"
	"github.com/bramble-tracing/bramble/internal/store/storetest"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collected is a store whose views gather all batches.
type collected struct {
	mu  sync.Mutex
	all store.Batch
}

func (c *collected) Append(ctx context.Context, b *store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		if s.Resource < 0 || int(s.Resource) >= len(b.Resources) || s.Scope < 0 || int(s.Scope) >= len(b.Scopes) {
			return store.ErrInvalid
		}
	}
	// The caller reuses b.
	data, err := otlpspan.AppendProto(nil, b)
	if err != nil {
		return err
	}
	copied := &store.Batch{}
	if err := otlpspan.ReadProto(data, copied); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r, sc := int32(len(c.all.Resources)), int32(len(c.all.Scopes)) //nolint:gosec // Tests are small.
	for i := range copied.Spans {
		copied.Spans[i].Resource += r
		copied.Spans[i].Scope += sc
	}
	c.all.Resources = append(c.all.Resources, copied.Resources...)
	c.all.Scopes = append(c.all.Scopes, copied.Scopes...)
	c.all.Spans = append(c.all.Spans, copied.Spans...)
	return nil
}

func (c *collected) View() (store.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return gathered.New(&c.all), nil
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return &collected{} })
}

// TestMergeOfFragments scatters spans, some of them twice, and brings them together again.
func TestMergeOfFragments(t *testing.T) {
	b := testkit.NewGenerator(1).Batch(2000)
	want := gathered.Merge(b)
	rng := rand.New(rand.NewPCG(1, 1))
	parts := make([]*store.Batch, 3)
	for i := range parts {
		parts[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	for _, s := range b.Spans {
		for _, p := range rng.Perm(3)[:1+rng.IntN(2)] {
			parts[p].Spans = append(parts[p].Spans, s)
		}
	}
	got := gathered.Merge(parts...)
	require.Equal(t, want.Spans, got.Spans)
	require.Equal(t, want.Resources, got.Resources)
	require.Positive(t, gathered.Weight(got))
}

// TestMergePrefersMoreAttributes also when these are those of the resource, and keeps both sides of a call that share
// an id (T-08).
func TestMergePrefersMoreAttributes(t *testing.T) {
	attrs := func(keys ...string) (out []store.Attr) {
		for _, k := range keys {
			out = append(out, store.Attr{Key: k, Value: store.Int(1)})
		}
		return out
	}
	span := store.Span{TraceID: spanid.TraceID{15: 1}, SpanID: spanid.SpanID{7: 1}, Kind: store.KindServer, Name: "bare"}
	rich := span
	rich.Attrs, rich.Name = attrs("a", "b"), "rich"
	other := span
	other.Kind = store.KindClient
	fragment := func(resource []store.Attr, spans ...store.Span) *store.Batch {
		return &store.Batch{Resources: []store.Resource{{Attrs: resource}}, Scopes: []store.Scope{{}}, Spans: spans}
	}
	for _, order := range [][]*store.Batch{
		{fragment(nil, span), fragment(attrs("x"), rich, other)},
		{fragment(attrs("x"), other, rich), fragment(nil, span)},
	} {
		got := gathered.Merge(order...)
		require.Len(t, got.Spans, 2)
		require.Equal(t, int32(store.KindServer), got.Spans[0].Kind)
		require.Equal(t, "rich", got.Spans[0].Name)
		require.Equal(t, attrs("x"), got.Resources[got.Spans[0].Resource].Attrs)
		require.Equal(t, int32(store.KindClient), got.Spans[1].Kind)
	}
	enriched := fragment(attrs("k8s.pod.name", "x"), span)
	got := gathered.Merge(fragment(attrs("x"), span), enriched)
	require.Equal(t, enriched.Resources[0].Attrs, got.Resources[got.Spans[0].Resource].Attrs)
}

func TestCut(t *testing.T) {
	b := testkit.NewGenerator(3).Batch(100)
	whole := store.Trace{Batch: *gathered.Merge(b)}
	n := len(whole.Spans)
	gathered.Cut(&whole, 0)
	require.Len(t, whole.Spans, n)
	gathered.Cut(&whole, gathered.Weight(&whole.Batch)/2)
	require.Less(t, len(whole.Spans), n)
	require.NotEmpty(t, whole.Spans)
	require.Contains(t, whole.Partial, "larger than the limit")
}
