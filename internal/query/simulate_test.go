package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/memlimit"
	"github.com/bramble-tracing/bramble/internal/owner"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// wire is a model of the network and of the load of a peer: before an answer there is a round trip with a long tail, and
// one of a hundred calls meets a garbage collection or a full queue.
type wire struct{ rtt time.Duration }

func (w wire) wait(ctx context.Context) error {
	d := w.rtt + time.Duration(rand.ExpFloat64()*float64(w.rtt)/2)
	if rand.IntN(100) == 0 {
		d += 20 * time.Millisecond
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// BenchmarkCluster is about the coordinator: how long an answer takes and how much CPU it costs with many peers. The
// peers are in this process and small, so their own work is next to nothing; what is measured is fan-out and merging.
// docs/scale.md has the results. BRAMBLE_SIM_NODES adds a size.
func BenchmarkCluster(b *testing.B) {
	sizes := []int{3, 10, 100}
	if n, err := strconv.Atoi(os.Getenv("BRAMBLE_SIM_NODES")); err == nil {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		batch := testkit.NewGenerator(1).Batch(40 * n)
		for _, spread := range []string{"routed", "scattered"} {
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("node-%d", i+1)
			}
			ring := owner.New(names)
			of := func(_ int, s *store.Span) int { return ring.Of(s.TraceID) }
			if spread == "scattered" {
				of = func(int, *store.Span) int { return rand.IntN(n) }
			}
			stores := make([]*store.Batch, n)
			for i := range stores {
				stores[i] = &store.Batch{Resources: batch.Resources, Scopes: batch.Scopes}
			}
			for i := range batch.Spans {
				p := stores[of(i, &batch.Spans[i])]
				p.Spans = append(p.Spans, batch.Spans[i])
			}
			s := simulated(b, stores)
			for name, ask := range map[string]func(ctx context.Context) error{
				"trace": func(ctx context.Context) error {
					return s.Trace(ctx, TraceRequest{ID: batch.Spans[7].TraceID}, func(*store.Trace) error { return nil })
				},
				"search": func(ctx context.Context) error {
					_, err := s.Search(ctx, SearchRequest{Query: "{ status = error }", Limit: 20})
					return err
				},
				"structure": func(ctx context.Context) error {
					_, err := s.Search(ctx, SearchRequest{Query: "{ kind = server } >> { kind = client }", Limit: 20})
					return err
				},
				"rate": func(ctx context.Context) error {
					_, err := s.Metrics(ctx, MetricsRequest{Query: "{} | rate() by (resource.service.name)", EndNano: 1 << 62, Instant: true})
					return err
				},
				"values": func(ctx context.Context) error {
					_, err := s.TagValues(ctx, TagValuesRequest{Name: "resource.service.name"})
					return err
				},
			} {
				b.Run(fmt.Sprintf("%d/%s/%s", n, spread, name), func(b *testing.B) {
					var took []time.Duration
					for b.Loop() {
						start := time.Now()
						if err := ask(b.Context()); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
				})
			}
		}
	}
}

// simulated is a service over the first batch with peers behind a network of half a millisecond.
func simulated(b *testing.B, batches []*store.Batch) *Service {
	b.Helper()
	w := wire{rtt: 500 * time.Microsecond}
	var s *Service
	peers := &fixedPeers{}
	for i, batch := range batches {
		o := oracle.New(0)
		if err := o.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			s = New(o, Limits{Concurrency: 4 * runtime.GOMAXPROCS(0)})
			continue
		}
		v, err := o.View()
		if err != nil {
			b.Fatal(err)
		}
		peers.peers = append(peers.peers, &slowHolds{&named{
			Peer: &local{service: New(o, Limits{}), view: catalogued(v), budget: memlimit.New("peer", 1<<30)}, name: fmt.Sprintf("node-%d", i+1), fail: w.wait,
		}})
	}
	s.Federate(Federation{Peers: peers, Node: "node-1"})
	return s
}

// cataloguedView is a view whose parts know their attributes, as the engine's do: the oracle looks at every span each time.
type cataloguedView struct {
	store.View
	parts []store.Part
}

func (v *cataloguedView) Parts() []store.Part { return v.parts }

type cataloguedPart struct {
	*oracle.Part
	list func() ([]store.AttributeInfo, error)
}

func (p *cataloguedPart) Attributes(context.Context) ([]store.AttributeInfo, error) { return p.list() }

func catalogued(v store.View) store.View {
	out := &cataloguedView{View: v}
	for _, p := range v.Parts() {
		out.parts = append(out.parts, &cataloguedPart{p.(*oracle.Part), sync.OnceValues(func() ([]store.AttributeInfo, error) {
			return p.Attributes(context.Background())
		})})
	}
	return out
}

// slowHolds puts the network also before the calls that named leaves alone.
type slowHolds struct{ *named }

// SearchTraces implements Peer.
func (p *slowHolds) SearchTraces(ctx context.Context, r SearchRequest, ids []spanid.TraceID) (*exec.SearchResult, []bool, error) {
	if err := p.check(ctx); err != nil {
		return nil, nil, err
	}
	return p.named.SearchTraces(ctx, r, ids)
}
