package tracemetrics

import (
	"math"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// exemplar is one span that stands for a bucket.
type exemplar struct {
	value float64 // seconds
	nano  int64
	trace spanid.TraceID
	span  spanid.SpanID
}

// keeper tells spans whose trace is certain to be kept by sampling, whatever else is in the trace.
type keeper struct {
	enabled, errors bool
	latencyNano     uint64 // 0: not by latency
	all             bool
	seed            uint64 // the hash of the salt
	threshold       uint64
}

// defaultHashSalt is that of the probabilistic policy of contrib's tail_sampling.
const defaultHashSalt = "default-hash-seed"

func newKeeper(c *Exemplars) keeper {
	k := keeper{
		enabled: c.Enabled, errors: c.Errors, latencyNano: uint64(max(c.Latency, 0)), //nolint:gosec // Not negative.
		all: c.KeptPercentage >= 100,
	}
	salt := c.HashSalt
	if salt == "" {
		salt = defaultHashSalt
	}
	k.seed = fnv1a(fnvOffset, []byte(salt))
	if !k.all {
		// A little below the policy's threshold, so that rounding never makes an exemplar of a trace that goes.
		const margin = 1 << 16
		share := c.KeptPercentage / 100 * (math.MaxInt64 * 2.0)
		k.threshold = uint64(max(share, margin)) - margin
	}
	return k
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv1a continues the 64-bit FNV-1a hash h over b.
func fnv1a(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}

// certain reports whether the trace of a span is kept. failed and durationNano are the span's.
func (k *keeper) certain(id spanid.TraceID, failed bool, durationNano uint64) bool {
	switch {
	case !k.enabled:
		return false
	case k.all, failed && k.errors, k.latencyNano > 0 && durationNano >= k.latencyNano:
		return true
	case k.threshold == 0:
		return false
	}
	return fnv1a(k.seed, id[:]) <= k.threshold
}

func (k *keeper) certainSpan(s *store.Span) bool {
	return k.certain(s.TraceID, s.StatusCode == store.StatusError, s.DurationNano())
}
