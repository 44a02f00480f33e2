package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// A record is a header and a body.
const (
	recordHeaderBytes = 17
	flagS2            = 1 << 0
	knownFlags        = flagS2
	// minCompress is the payload size from which compression is tried.
	minCompress = 64
	// MaxPayload is the largest payload in bytes, whatever the segment size.
	MaxPayload = 256 << 20
)

var (
	errRecordShort  = errors.New("record is shorter than its header")
	errRecordLength = errors.New("record has another length than its header says")
	errRecordFlags  = errors.New("record has unknown flags")
	errRecordBody   = errors.New("record does not decompress to its length")
)

// encodeRecord makes a record of payload in buf's memory, growing it as needed. The sequence number is set later.
func encodeRecord(buf, payload []byte) []byte {
	need := recordHeaderBytes + max(len(payload), s2.MaxEncodedLen(len(payload)))
	if cap(buf) < need {
		buf = make([]byte, need)
	}
	buf = buf[:need]
	var flags byte
	body := 0
	if len(payload) >= minCompress {
		body = len(s2.Encode(buf[recordHeaderBytes:], payload))
		flags = flagS2
	}
	if flags == 0 || body >= len(payload) {
		flags = 0
		body = copy(buf[recordHeaderBytes:], payload)
	}
	buf[0] = flags
	binary.LittleEndian.PutUint32(buf[9:], uint32(len(payload))) //nolint:gosec // At most MaxPayload.
	binary.LittleEndian.PutUint32(buf[13:], uint32(body))        //nolint:gosec // At most MaxPayload.
	return buf[:recordHeaderBytes+body]
}

func setSeq(rec []byte, seq uint64) { binary.LittleEndian.PutUint64(rec[1:], seq) }

// record is a decoded record header with the body still encoded.
type record struct {
	seq   uint64
	flags byte
	raw   uint32
	body  []byte
}

func parseRecord(b []byte) (record, error) {
	if len(b) < recordHeaderBytes {
		return record{}, errRecordShort
	}
	r := record{
		flags: b[0],
		seq:   binary.LittleEndian.Uint64(b[1:]),
		raw:   binary.LittleEndian.Uint32(b[9:]),
		body:  b[recordHeaderBytes:],
	}
	switch {
	case r.flags&^knownFlags != 0:
		return record{}, fmt.Errorf("%w %#x", errRecordFlags, r.flags)
	case int64(binary.LittleEndian.Uint32(b[13:])) != int64(len(r.body)), r.raw > MaxPayload, r.seq == 0,
		r.flags&flagS2 == 0 && int64(r.raw) != int64(len(r.body)):
		return record{}, errRecordLength
	}
	return r, nil
}

// payload returns the payload, in buf's memory if it had to be decompressed and fits. The second result is the
// buffer to be used next time.
func (r record) payload(buf []byte) (payload, next []byte, err error) {
	if r.flags&flagS2 == 0 {
		return r.body, buf, nil
	}
	if n, err := s2.DecodedLen(r.body); err != nil || n != int(r.raw) {
		return nil, buf, errRecordBody
	}
	if cap(buf) < int(r.raw) {
		buf = make([]byte, r.raw)
	}
	out, err := s2.Decode(buf[:cap(buf)], r.body)
	if err != nil || len(out) != int(r.raw) {
		return nil, buf, errRecordBody
	}
	return out, buf, nil
}
