package wal

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/bramble-tracing/bramble/internal/store"
)

// maxListed bounds the lists in ReplayStats.
const maxListed = 100

// ReplayStats says what Replay found.
type ReplayStats struct {
	Segments int
	Records  uint64 // passed on
	Bytes    int64  // of their payloads
	// FirstSeq and LastSeq are the numbers of the first and the last record passed on; 0 if there was none.
	FirstSeq, LastSeq uint64
	// Torn is the tail that Open cut off, which is normal after a crash.
	Torn Torn
	// Damaged counts places where the log is not what was written; Corruptions describes the first 100.
	Damaged     int
	Corruptions []*store.CorruptionError
	// Gaps counts holes in the sequence of numbers and Lost the records that they held.
	Gaps int
	Lost uint64
	// MissingSegments counts segments that are gone from between others; Missing lists the first 100.
	MissingSegments uint64
	Missing         []uint64
	// Refused counts records that are in the log but were refused: Append returned an error for them, or their number
	// was given again.
	Refused uint64
}

// Healthy reports whether nothing that was accepted is known to be lost. A torn tail is healthy.
func (s *ReplayStats) Healthy() bool { return s.Damaged == 0 && s.Lost == 0 && s.MissingSegments == 0 }

// Replay calls fn for each record that was accepted before the call, in ascending order of numbers. The payload is
// valid until fn returns. An error of fn, or of reading, ends the replay and is returned; damage is skipped and
// counted. It must not run beside TruncateBefore.
func (w *WAL) Replay(fn func(seq uint64, payload []byte) error) (ReplayStats, error) {
	w.mu.Lock()
	p := replay{w: w, segs: w.segments(), newest: w.prevSeq, fn: fn}
	w.mu.Unlock()
	p.st.Torn = w.torn
	for i := range p.segs {
		if err := p.segment(i); err != nil {
			return p.st, fmt.Errorf("replay WAL %s: %w", w.dir, err)
		}
	}
	return p.st, nil
}

// replay is the state of one Replay.
type replay struct {
	w      *WAL
	segs   []segment
	newest uint64 // records beyond it came later
	fn     func(uint64, []byte) error
	st     ReplayStats
	last   uint64 // number of the last record passed on or known to be missing
	buf    []byte
	bad    []*store.CorruptionError // of the current segment
	nbad   int
}

func (p *replay) segment(i int) error {
	s := p.segs[i]
	p.st.Segments++
	p.enter(i)
	limit := p.limit(i)
	path := p.w.path(s.number)
	f, err := p.w.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	r := newSegmentReader(f, s.size, s.number, func(off int64, err error) { p.damage(s.number, off, err) })
	for {
		rec, err := r.next()
		if errors.Is(err, io.EOF) {
			p.leave(r.end, limit)
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if err := p.record(rec, r, s.number, limit); err != nil {
			return err
		}
	}
}

// enter compares the beginning of a segment with the end of what came before.
func (p *replay) enter(i int) {
	s := p.segs[i]
	if i > 0 {
		for n := p.segs[i-1].number + 1; n < s.number; n++ {
			if len(p.st.Missing) == maxListed {
				break
			}
			p.st.Missing = append(p.st.Missing, n)
		}
		p.st.MissingSegments += s.number - p.segs[i-1].number - 1
		p.gap(s.prevSeq)
	}
	if s.firstSeq > 0 {
		p.last = max(p.last, s.firstSeq-1)
	}
	p.bad, p.nbad = nil, 0
	if s.damaged != nil {
		p.damage(s.number, 0, s.damaged)
	}
}

// gap counts the records after p.last up to seq as lost.
func (p *replay) gap(seq uint64) {
	if seq > p.last {
		p.st.Gaps++
		p.st.Lost += seq - p.last
		p.last = seq
	}
}

// limit returns the number of the last accepted record that segment i can hold.
func (p *replay) limit(i int) uint64 {
	limit := uint64(math.MaxUint64)
	for _, s := range p.segs[i+1:] {
		if s.damaged == nil || s.firstSeq > 0 {
			limit = min(limit, s.prevSeq)
		}
	}
	return min(limit, p.newest)
}

func (p *replay) record(rec record, r *segmentReader, number, limit uint64) error {
	if rec.seq > limit || rec.seq <= p.last {
		p.st.Refused++
		return nil
	}
	payload, buf, err := rec.payload(p.buf)
	p.buf = buf
	if err != nil {
		p.damage(number, r.begin, err)
		return nil
	}
	p.gap(rec.seq - 1)
	if err := p.fn(rec.seq, payload); err != nil {
		return fmt.Errorf("record %d: %w", rec.seq, err)
	}
	if p.st.Records == 0 {
		p.st.FirstSeq = rec.seq
	}
	p.st.Records++
	p.st.Bytes += int64(len(payload))
	p.st.LastSeq, p.last = rec.seq, rec.seq
	return nil
}

func (p *replay) damage(number uint64, off int64, err error) {
	p.nbad++
	if len(p.bad) < maxListed {
		p.bad = append(p.bad, p.w.corruption(number, off, err))
	}
}

// leave adds up the damage of a segment that is intact up to end. What lies behind the last accepted record is the
// rest of a write that was refused.
func (p *replay) leave(end int64, limit uint64) {
	if p.last >= limit {
		for len(p.bad) > 0 && p.bad[len(p.bad)-1].Offset >= end && p.nbad <= maxListed {
			p.bad = p.bad[:len(p.bad)-1]
			p.nbad--
		}
	}
	p.st.Damaged += p.nbad
	p.st.Corruptions = append(p.st.Corruptions, p.bad[:min(len(p.bad), maxListed-len(p.st.Corruptions))]...)
}
