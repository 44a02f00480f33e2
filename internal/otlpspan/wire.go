package otlpspan

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bramble-tracing/bramble/internal/store"
)

// Tags (field number and wire type) of the messages of opentelemetry.proto.{trace,common,resource}.v1 that fit into
// one byte. Span.flags has number 16 and two bytes.
const (
	tagResourceSpans = 1<<3 | 2 // TracesData, ExportTraceServiceRequest

	tagRSResource   = 1<<3 | 2 // ResourceSpans
	tagRSScopeSpans = 2<<3 | 2
	tagRSSchemaURL  = 3<<3 | 2

	tagResourceAttrs   = 1<<3 | 2 // Resource
	tagResourceDropped = 2<<3 | 0
	tagResourceEntity  = 3<<3 | 2

	tagEntitySchemaURL = 1<<3 | 2 // EntityRef
	tagEntityType      = 2<<3 | 2
	tagEntityIDKeys    = 3<<3 | 2
	tagEntityDescrKeys = 4<<3 | 2

	tagSSScope     = 1<<3 | 2 // ScopeSpans
	tagSSSpans     = 2<<3 | 2
	tagSSSchemaURL = 3<<3 | 2

	tagScopeName    = 1<<3 | 2 // InstrumentationScope
	tagScopeVersion = 2<<3 | 2
	tagScopeAttrs   = 3<<3 | 2
	tagScopeDropped = 4<<3 | 0

	tagSpanTraceID       = 1<<3 | 2 // Span
	tagSpanID            = 2<<3 | 2
	tagSpanTraceState    = 3<<3 | 2
	tagSpanParent        = 4<<3 | 2
	tagSpanName          = 5<<3 | 2
	tagSpanKind          = 6<<3 | 0
	tagSpanStart         = 7<<3 | 1
	tagSpanEnd           = 8<<3 | 1
	tagSpanAttrs         = 9<<3 | 2
	tagSpanDroppedAttrs  = 10<<3 | 0
	tagSpanEvents        = 11<<3 | 2
	tagSpanDroppedEvents = 12<<3 | 0
	tagSpanLinks         = 13<<3 | 2
	tagSpanDroppedLinks  = 14<<3 | 0
	tagSpanStatus        = 15<<3 | 2
	tagSpanFlags         = 16<<3 | 5

	tagStatusMessage = 2<<3 | 2 // Status; number 1 is reserved
	tagStatusCode    = 3<<3 | 0

	tagEventTime    = 1<<3 | 1 // Span.Event
	tagEventName    = 2<<3 | 2
	tagEventAttrs   = 3<<3 | 2
	tagEventDropped = 4<<3 | 0

	tagLinkTraceID    = 1<<3 | 2 // Span.Link
	tagLinkSpanID     = 2<<3 | 2
	tagLinkTraceState = 3<<3 | 2
	tagLinkAttrs      = 4<<3 | 2
	tagLinkDropped    = 5<<3 | 0
	tagLinkFlags      = 6<<3 | 5

	tagKVKey      = 1<<3 | 2 // KeyValue
	tagKVValue    = 2<<3 | 2
	tagKVStrindex = 3<<3 | 0

	tagAnyString   = 1<<3 | 2 // AnyValue
	tagAnyBool     = 2<<3 | 0
	tagAnyInt      = 3<<3 | 0
	tagAnyDouble   = 4<<3 | 1
	tagAnyArray    = 5<<3 | 2
	tagAnyKvlist   = 6<<3 | 2
	tagAnyBytes    = 7<<3 | 2
	tagAnyStrindex = 8<<3 | 0

	tagListValues = 1<<3 | 2 // ArrayValue, KeyValueList
)

// field is one field of a message: its number with its wire type, and either a number or the range of bytes of its
// contents.
type field struct {
	tag    uint64
	num    uint64
	lo, hi int
}

// unknown decides about a field that the caller's switch did not take: a number that OTLP does not define is skipped,
// a known one (1 to known) has the wrong wire type.
func (f *field) unknown(message string, known uint64) error {
	if n := f.tag >> 3; n <= known {
		return fmt.Errorf("%w: %s: field %d has wire type %d", store.ErrInvalid, message, n, f.tag&7)
	}
	return nil
}

// decoder reads fields from data; str is an immutable copy of it that all strings are cut from.
type decoder struct {
	data []byte
	str  string
}

func newDecoder(data []byte) decoder { return decoder{data: data, str: string(data)} }

// next reads the field at pos of a message that ends at end, and returns where the next one starts.
func (d *decoder) next(pos, end int) (f field, _ int, err error) {
	if f.tag, pos, err = d.varint(pos, end); err != nil {
		return f, 0, err
	}
	if n := f.tag >> 3; n == 0 || n > uint64(protowire.MaxValidNumber) {
		return f, 0, fmt.Errorf("%w: field number %d before byte %d", store.ErrInvalid, n, pos)
	}
	switch protowire.Type(f.tag & 7) {
	case protowire.VarintType:
		f.num, pos, err = d.varint(pos, end)
		return f, pos, err
	case protowire.BytesType:
		var n uint64
		if n, pos, err = d.varint(pos, end); err != nil {
			return f, 0, err
		}
		if n > uint64(end-pos) { //nolint:gosec // pos <= end.
			return f, 0, truncatedAt(pos)
		}
		f.lo, f.hi = pos, pos+int(n) //nolint:gosec // At most end.
		return f, f.hi, nil
	case protowire.Fixed64Type:
		if end-pos < 8 {
			return f, 0, truncatedAt(pos)
		}
		f.num = binary.LittleEndian.Uint64(d.data[pos:])
		return f, pos + 8, nil
	case protowire.Fixed32Type:
		if end-pos < 4 {
			return f, 0, truncatedAt(pos)
		}
		f.num = uint64(binary.LittleEndian.Uint32(d.data[pos:]))
		return f, pos + 4, nil
	}
	// proto3 has no groups, and pdata takes the fields of one for those of the message around it.
	return f, 0, fmt.Errorf("%w: field %d before byte %d is a group or has no wire type", store.ErrInvalid, f.tag>>3, pos)
}

func (d *decoder) varint(pos, end int) (uint64, int, error) {
	if pos < end && d.data[pos] < 0x80 {
		return uint64(d.data[pos]), pos + 1, nil
	}
	v, n := protowire.ConsumeVarint(d.data[pos:end])
	if n < 0 {
		return 0, 0, fmt.Errorf("%w: number at byte %d: %w", store.ErrInvalid, pos, protowire.ParseError(n))
	}
	return v, pos + n, nil
}

func truncatedAt(pos int) error {
	return fmt.Errorf("%w: contents at byte %d reach beyond the end of their message", store.ErrInvalid, pos)
}

// sizeVarint returns how many bytes n takes as a varint.
func sizeVarint(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 } //nolint:gosec // Lengths are positive.

// open starts an embedded message whose length is not known yet: it leaves room for a length of `guess` bytes and
// returns where the contents begin, for closeMessage.
func open(dst []byte, guess int) ([]byte, int) {
	var room [5]byte
	dst = append(dst, room[:guess]...)
	return dst, len(dst)
}

// closeMessage writes the length of the message that began at mark, moving the contents if the guess was wrong.
func closeMessage(dst []byte, mark, guess int) []byte {
	n := len(dst) - mark
	size := sizeVarint(n)
	if size != guess {
		if size > guess {
			var room [10]byte
			dst = append(dst, room[:size-guess]...)
		}
		copy(dst[mark-guess+size:], dst[mark:mark+n])
		dst = dst[:mark-guess+size+n]
	}
	binary.PutUvarint(dst[mark-guess:mark-guess+size], uint64(n)) //nolint:gosec // A length.
	return dst
}
