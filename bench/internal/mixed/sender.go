package mixed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/bench/internal/load"
	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// trace is an acknowledged trace.
type trace struct {
	id    spanid.TraceID
	spans int
}

// sender sends whole traces of the reference workload at a rate and knows what was acknowledged.
type sender struct {
	rate int
	conn *grpc.ClientConn
	// sent counts spans from before they are sent, acked from after they were acknowledged.
	sent, acked atomic.Int64

	mu       sync.Mutex
	traces   []trace
	services map[string]bool
}

// Spans of a request, and requests on their way at a time.
const (
	batchSpans = 1000
	senders    = 16
)

// run sends until ctx ends. The rate is kept on average: after a stall batches follow each other faster.
func (s *sender) run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, senders)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	for i := range senders {
		wg.Go(func() {
			if errs[i] = s.worker(ctx, testkit.NewGenerator(uint64(100+i)), begin); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *sender) worker(ctx context.Context, gen *testkit.Generator, begin time.Time) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for s.sent.Load() < int64(time.Since(begin).Seconds()*float64(s.rate)) && ctx.Err() == nil {
			if err := s.send(gen); err != nil { //nolint:contextcheck // What is begun is acknowledged.
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *sender) send(gen *testkit.Generator) error {
	gen.SetTime(time.Now().Add(-time.Second))
	b := gen.Batch(batchSpans)
	body, err := otlpspan.AppendProto(nil, b)
	if err != nil {
		return err
	}
	s.sent.Add(int64(len(b.Spans)))
	if err := load.Export(s.conn, body); err != nil {
		return fmt.Errorf("send %d spans: %w", len(b.Spans), err)
	}
	s.acked.Add(int64(len(b.Spans)))
	s.remember(b)
	return nil
}

func (s *sender) remember(b *store.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Spans {
		for _, a := range b.Resources[b.Spans[i].Resource].Attrs {
			if a.Key == "service.name" {
				s.services[a.Value.Str] = true
				break
			}
		}
		if n := len(s.traces); n > 0 && s.traces[n-1].id == b.Spans[i].TraceID {
			s.traces[n-1].spans++
			continue
		}
		s.traces = append(s.traces, trace{b.Spans[i].TraceID, 1})
	}
}

// pick returns an acknowledged trace, often a new one.
func (s *sender) pick(rng *rand.Rand) (trace, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.traces)
	if n == 0 {
		return trace{}, false
	}
	if rng.IntN(2) == 0 {
		return s.traces[n-1-rng.IntN(min(n, 100))], true
	}
	return s.traces[rng.IntN(n)], true
}
