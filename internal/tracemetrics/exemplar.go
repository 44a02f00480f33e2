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

// certain reports whether the trace of s is kept. Spans of a trace mostly come together: sc remembers the last one's.
func (k *keeper) certain(s *store.Span, sc *scratch) bool {
	switch {
	case !k.enabled || sc.unknown:
		return false
	case k.all, k.errors && s.StatusCode == store.StatusError, k.latencyNano > 0 && s.DurationNano() >= k.latencyNano:
		return true
	}
	if s.TraceID != sc.trace {
		sc.trace, sc.kept = s.TraceID, k.keepsID(s.TraceID)
	}
	return sc.kept
}

// keepsID reports whether the share of traces that is kept by their id has this one.
func (k *keeper) keepsID(id spanid.TraceID) bool {
	return k.all || k.threshold > 0 && fnv1a(k.seed, id[:]) <= k.threshold
}
