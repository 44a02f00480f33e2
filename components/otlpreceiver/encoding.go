package otlpreceiver

import (
	"mime"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The encodings of OTLP over HTTP, by their content types (OTLP 1.x, "OTLP/HTTP").
const (
	protoType = "application/x-protobuf"
	jsonType  = "application/json"
)

// request is a request of any signal.
type request interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}

// response is the answer to one.
type response interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

// encoding is the content type of a request and of its answer: protoType or jsonType.
type encoding string

// encodingOf reads a Content-Type header. ok is false if it is neither.
func encodingOf(header string) (e encoding, ok bool) {
	switch header { // Without parameters it is usual.
	case protoType, jsonType:
		return encoding(header), true
	}
	t, _, err := mime.ParseMediaType(header)
	return encoding(t), err == nil && (t == protoType || t == jsonType)
}

func (e encoding) decode(r request, body []byte) error {
	if e == protoType {
		return r.UnmarshalProto(body)
	}
	return r.UnmarshalJSON(body)
}

func (e encoding) encode(r response) ([]byte, error) {
	if e == protoType {
		return r.MarshalProto()
	}
	return r.MarshalJSON()
}

func (e encoding) encodeStatus(s *spb.Status) ([]byte, error) {
	if e == protoType {
		return proto.Marshal(s)
	}
	return protojson.Marshal(s)
}
