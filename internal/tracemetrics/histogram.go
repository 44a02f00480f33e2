package tracemetrics

import (
	"math"
	"time"
)

// histogramSpec is what all histograms of a metric share.
type histogramSpec struct {
	bounds     []float64 // nil: no classic histogram
	native     bool
	scale      int32 // of new native histograms
	maxBuckets int
}

func newHistogramSpec(c *Config, bounds []float64) histogramSpec {
	s := histogramSpec{native: c.Histograms.native(), scale: nativeScale(c.NativeBucketFactor), maxBuckets: c.NativeMaxBuckets}
	if c.Histograms.classic() {
		s.bounds = bounds
	}
	return s
}

// nativeScale is the lowest resolution whose buckets grow by at most factor, within what Prometheus takes (-4 to 8).
func nativeScale(factor float64) int32 {
	for scale := int32(-4); scale < 8; scale++ {
		if math.Exp2(math.Exp2(-float64(scale))) <= factor {
			return scale
		}
	}
	return 8
}

// histogram accumulates durations in seconds, with weights.
type histogram struct {
	classic []float64 // one more than bounds
	sum     float64
	native  nativeHistogram
	// exemplars holds at most one per bucket since the last collection; taken has a bit for each bucket that has one.
	exemplars []exemplar
	taken     uint64
	// spare is a span since the last collection whose trace is not certain to be kept. It is noted only while exemplars is
	// empty and, by exemplified, the time of the last exemplar, pinning is due.
	spare       *exemplar
	exemplified int64 // Unix nanoseconds
}

// bucket is the first bound that v does not exceed, or len(bounds).
func bucket(bounds []float64, v float64) int {
	lo, hi := 0, len(bounds)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1) //nolint:gosec // Not negative.
		if v <= bounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// add counts v. It returns the bucket for an exemplar, or -1 if there is one already.
func (h *histogram) add(spec *histogramSpec, v, weight float64) int {
	h.sum += v * weight
	b := 0
	if spec.bounds != nil {
		if h.classic == nil {
			h.classic = make([]float64, len(spec.bounds)+1)
		}
		b = bucket(spec.bounds, v)
		h.classic[b] += weight
	}
	if spec.native {
		h.native.add(spec, v, weight)
		if spec.bounds == nil && v > 0 {
			// One exemplar per power of two, from a microsecond up.
			_, exp := math.Frexp(v)
			b = min(max(exp+20, 0), maxBuckets)
		}
	}
	if h.taken&(1<<b) != 0 {
		return -1
	}
	return b
}

func (h *histogram) setExemplar(bucket int, e exemplar) {
	h.taken |= 1 << bucket
	h.exemplars = append(h.exemplars, e)
}

// pinEvery is how old the newest exemplar of a histogram is before a trace is pinned for another one.
const pinEvery = int64(5 * time.Minute)

// setSpare notes an exemplar that needs a pin.
func (h *histogram) setSpare(e exemplar) {
	if h.spare != nil || len(h.exemplars) > 0 || e.nano-h.exemplified < pinEvery {
		return
	}
	h.spare = &e
}

func (h *histogram) clearExemplars() { h.taken, h.exemplars, h.spare = 0, h.exemplars[:0], nil }

// nativeHistogram is a base-2 exponential histogram: the bucket with index i counts values in
// (2^(i/2^scale), 2^((i+1)/2^scale)], as OTLP's ExponentialHistogram and Prometheus' native histogram do.
type nativeHistogram struct {
	scale  int32
	offset int32 // index of counts[0]
	counts []float64
	zero   float64
}

func (n *nativeHistogram) add(spec *histogramSpec, v, weight float64) {
	if !(v > 0) {
		n.zero += weight
		return
	}
	if n.counts == nil {
		n.scale = spec.scale
		n.offset = nativeIndex(v, n.scale)
		n.counts = append(make([]float64, 0, 8), weight)
		return
	}
	i := nativeIndex(v, n.scale)
	for {
		lo, hi := min(i, n.offset), max(i, n.offset+int32(len(n.counts))-1) //nolint:gosec // At most maxBuckets.
		if int(hi)-int(lo) < spec.maxBuckets || n.scale <= -4 {
			break
		}
		n.halve()
		i >>= 1
	}
	n.grow(i)
	n.counts[i-n.offset] += weight
}

// grow makes room for index i.
func (n *nativeHistogram) grow(i int32) {
	if below := int(n.offset - i); below > 0 {
		old := len(n.counts)
		n.counts = append(n.counts, make([]float64, below)...)
		copy(n.counts[below:], n.counts[:old])
		clear(n.counts[:below])
		n.offset = i
	}
	for int(i-n.offset) >= len(n.counts) {
		n.counts = append(n.counts, 0)
	}
}

// halve merges pairs of buckets.
func (n *nativeHistogram) halve() {
	offset := n.offset >> 1
	last := (n.offset + int32(len(n.counts)) - 1) >> 1 //nolint:gosec // At most maxBuckets.
	merged := make([]float64, last-offset+1, max(8, int(last-offset+1)))
	for i, c := range n.counts {
		merged[((n.offset+int32(i))>>1)-offset] += c //nolint:gosec // As above.
	}
	n.scale, n.offset, n.counts = n.scale-1, offset, merged
}

// nativeIndex is ceil(log2(v) * 2^scale) - 1, exact for powers of two.
func nativeIndex(v float64, scale int32) int32 {
	frac, exp := math.Frexp(v) // v = frac * 2^exp, 0.5 <= frac < 1
	if frac == 0.5 {
		frac, exp = 1, exp-1 // v = 2^exp: upper bounds are inclusive.
	}
	// v is in (2^(exp-1), 2^exp].
	if scale <= 0 {
		return int32(exp-1) >> -scale //nolint:gosec // Exponents of float64.
	}
	per := math.Exp2(float64(scale))
	sub := int32(math.Ceil((math.Log2(frac)+1)*per)) - 1
	sub = min(max(sub, 0), int32(per)-1)
	return int32(exp-1)<<scale + sub //nolint:gosec // As above.
}
