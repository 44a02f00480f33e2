package diskscan

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// Sizes of docs/format/wal.md.
const (
	logPage           = 32768
	logHeader         = 40
	logFragmentHeader = 7
	logRecordHeader   = 17
)

// log looks into each record of a segment of the write-ahead log, also into those that a replay would not count, and
// into what is there of records that are not complete.
func (r *Report) log(n *Needles, name string, data []byte) {
	var record []byte
	for at := logHeader; at < len(data); {
		left := logPage - at%logPage
		if left < logFragmentHeader+1 {
			at += left
			continue
		}
		if at+logFragmentHeader > len(data) {
			break
		}
		size, kind := int(binary.LittleEndian.Uint16(data[at+4:])), data[at+6]
		if size == 0 || kind < 1 || kind > 4 || size > left-logFragmentHeader {
			at += left // Damage, or a segment that was allocated ahead.
			continue
		}
		end := min(at+logFragmentHeader+size, len(data))
		if kind == 1 || kind == 2 {
			record = record[:0]
		}
		record = append(record, data[at+logFragmentHeader:end]...)
		if kind == 1 || kind == 4 {
			r.record(n, fmt.Sprintf("%s, record that ends at %d", name, end), record)
		}
		at = end
	}
}

func (r *Report) record(n *Needles, place string, record []byte) {
	if len(record) < logRecordHeader {
		return
	}
	body := record[logRecordHeader:]
	if record[0]&1 != 0 {
		plain, err := s2.Decode(nil, body)
		if err != nil {
			return // Damaged. Raw has seen it.
		}
		body = plain
	}
	r.Look(n, Log, place, body)
}
