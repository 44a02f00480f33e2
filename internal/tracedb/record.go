package tracedb

import (
	"errors"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// The first byte of a log record says what follows.
const (
	recordBatch  = 1 // OTLP TracesData
	recordDelete = 2 // the 16 bytes of a trace id
	recordPin    = 3 // the 16 bytes of each trace id
)

var (
	errEmptyRecord   = errors.New("log record is empty")
	errUnknownRecord = errors.New("log record is of an unknown kind: it was written by a newer version, use that")
)

// appendBatchRecord appends the record of a batch to dst.
func appendBatchRecord(dst []byte, b *store.Batch) ([]byte, error) {
	return otlpspan.AppendProto(append(dst, recordBatch), b)
}

func deleteRecord(id spanid.TraceID) []byte { return append([]byte{recordDelete}, id[:]...) }

func pinRecord(ids []spanid.TraceID) []byte {
	b := append(make([]byte, 0, 1+len(ids)*len(spanid.TraceID{})), recordPin)
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

// record is a decoded log record: a batch, pins or a deletion.
type record struct {
	batch   *store.Batch
	pinned  []spanid.TraceID
	deleted spanid.TraceID
}

// recordReader decodes log records. The batch it returns is valid until the next call.
type recordReader struct {
	arena otlpspan.Arena
	batch store.Batch
}

// read decodes a record. Unknown kinds are errUnknownRecord, other errors mean damage.
func (r *recordReader) read(payload []byte) (record, error) {
	if len(payload) == 0 {
		return record{}, errEmptyRecord
	}
	body := payload[1:]
	switch payload[0] {
	case recordBatch:
		r.arena.Reset()
		r.batch.Reset()
		if err := r.arena.ReadProto(body, &r.batch); err != nil {
			return record{}, err
		}
		return record{batch: &r.batch}, nil
	case recordDelete:
		var id spanid.TraceID
		if len(body) != len(id) {
			return record{}, fmt.Errorf("deletion record has %d bytes for a trace id, not %d", len(body), len(id))
		}
		copy(id[:], body)
		return record{deleted: id}, nil
	case recordPin:
		const size = len(spanid.TraceID{})
		if len(body) == 0 || len(body)%size != 0 {
			return record{}, fmt.Errorf("pin record has %d bytes, not a multiple of %d", len(body), size)
		}
		ids := make([]spanid.TraceID, len(body)/size)
		for i := range ids {
			copy(ids[i][:], body[i*size:])
		}
		return record{pinned: ids}, nil
	}
	return record{}, fmt.Errorf("%w (kind %d)", errUnknownRecord, payload[0])
}

// weigh estimates, rather too high, how many bytes of a head a batch needs.
func weigh(b *store.Batch) int64 {
	n := int64(0)
	for i := range b.Resources {
		n += 256 + weighAttrs(b.Resources[i].Attrs)*2
	}
	for i := range b.Scopes {
		n += 256 + weighAttrs(b.Scopes[i].Attrs)*2
	}
	for i := range b.Spans {
		n += weighSpan(&b.Spans[i])
	}
	return n
}

// Bytes per span, event, link and attribute beside their strings.
const (
	spanBytes  = 96
	eventBytes = 48
	linkBytes  = 80
	attrBytes  = 40
)

func weighSpan(s *store.Span) int64 {
	n := spanBytes + int64(len(s.Name)+len(s.TraceState)+len(s.StatusMessage)) + weighAttrs(s.Attrs)
	for i := range s.Events {
		n += eventBytes + int64(len(s.Events[i].Name)) + weighAttrs(s.Events[i].Attrs)
	}
	for i := range s.Links {
		n += linkBytes + int64(len(s.Links[i].TraceState)) + weighAttrs(s.Links[i].Attrs)
	}
	return n
}

func weighAttrs(attrs []store.Attr) int64 {
	n := int64(len(attrs)) * attrBytes
	for i := range attrs {
		n += int64(len(attrs[i].Value.Str))
	}
	return n
}
