package tempoapi

import (
	"net/http"
	"net/url"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// traceRequest decodes what both versions of the endpoint take (T-05). start, end, mode and the block range only
// narrow where Tempo looks; the trace index finds a trace without them, so they are checked and not used.
func traceRequest(r *http.Request, id string) (query.TraceRequest, error) {
	q := query.TraceRequest{Client: clientOf(r)}
	var err error
	if q.ID, err = spanid.ParseTraceID(id); err != nil {
		return q, badRequestf("%s", err)
	}
	p, err := parseQuery(r.URL)
	if err != nil {
		return q, err
	}
	if err := checkTraceRange(p); err != nil {
		return q, err
	}
	switch m := p.Get("mode"); m {
	case "", "all", "ingesters", "blocks", "external":
	default:
		return q, badRequestf("invalid value for mode %s: use all, ingesters, blocks or external", m)
	}
	for _, k := range [...]string{"blockStart", "blockEnd"} {
		if v := p.Get(k); v != "" && !isUUID(v) {
			return q, badRequestf("invalid value for %s: %q is not a UUID", k, v)
		}
	}
	return q, nil
}

func checkTraceRange(p url.Values) error {
	start, hasStart, err := secondsParam(p, "start")
	if err != nil {
		return err
	}
	end, hasEnd, err := secondsParam(p, "end")
	if err != nil {
		return err
	}
	if hasStart && hasEnd && end <= start {
		return badRequestf("http parameter start must be before end. received start=%d end=%d", start, end)
	}
	return nil
}

// traceV2 answers a TraceByIDResponse. A trace that is not there is an empty one and no error (T-01 to T-03).
func (a *API) traceV2(w http.ResponseWriter, r *http.Request, id string) error {
	q, err := traceRequest(r, id)
	if err != nil {
		return err
	}
	f := formatOf(r)
	var body []byte
	err = a.service.Trace(r.Context(), q, func(t *store.Trace) (err error) {
		switch f {
		case formatProto:
			body, err = protoTraceByID(t)
		case formatLLM:
			body, err = llmTrace(t)
		case formatJSON:
			body, err = jsonTraceByID(t)
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.write(w, r, f.contentType(), body)
}

// traceV1 answers a bare Trace, or 404 without a body (T-04).
func (a *API) traceV1(w http.ResponseWriter, r *http.Request, id string) error {
	q, err := traceRequest(r, id)
	if err != nil {
		return err
	}
	f := formatOf(r)
	if f == formatLLM { // C-08: v2 only.
		f = formatJSON
	}
	var body []byte
	err = a.service.Trace(r.Context(), q, func(t *store.Trace) (err error) {
		if t == nil || len(t.Spans) == 0 && t.Partial == "" {
			return &statusError{code: http.StatusNotFound}
		}
		if t.Partial != "" {
			return &statusError{code: http.StatusUnprocessableEntity, text: t.Partial + "; /api/v2/traces/" + q.ID.String() + " answers with the part that fits"}
		}
		if f == formatProto {
			body, err = otlpspan.AppendProto(make([]byte, 0, roomFor(t, protoSpan)), nameResources(&t.Batch))
			return err
		}
		j := jsonWriter{b: make([]byte, 0, roomFor(t, jsonSpan))}
		j.object()
		if err := j.traceJSON("batches", nameResources(&t.Batch)); err != nil {
			return err
		}
		j.close('}')
		body = j.b
		return nil
	})
	if err != nil {
		return err
	}
	return a.write(w, r, f.contentType(), body)
}

func (f format) contentType() string {
	switch f {
	case formatProto:
		return typeProto
	case formatLLM:
		return typeLLM
	case formatJSON:
	}
	return typeJSON
}

// Field numbers of TraceByIDResponse and TraceByIDMetrics (contract 2.1).
const (
	numTrace, numMetrics, numStatus, numMessage = 1, 2, 3, 4
	numInspectedBytes                           = 1
)

// protoTraceByID encodes the answer for t, which is nil for a trace that was not found. The trace and the metrics are
// there also when they are empty: Grafana dereferences the trace unchecked (T-02).
func protoTraceByID(t *store.Trace) ([]byte, error) {
	if t == nil {
		return []byte{numTrace<<3 | 2, 0, numMetrics<<3 | 2, 0}, nil
	}
	// The trace is by far the largest part: it is encoded in its place, behind room for its tag and length.
	const room = 1 + 5
	body, err := otlpspan.AppendProto(make([]byte, room, room+roomFor(t, protoSpan)), nameResources(&t.Batch))
	if err != nil {
		return nil, err
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, numTrace, protowire.BytesType), uint64(len(body)-room))
	body = body[room-len(head):]
	copy(body, head)
	var metrics []byte
	if t.InspectedBytes > 0 {
		metrics = protowire.AppendTag(metrics, numInspectedBytes, protowire.VarintType)
		metrics = protowire.AppendVarint(metrics, t.InspectedBytes)
	}
	body = protowire.AppendTag(body, numMetrics, protowire.BytesType)
	body = protowire.AppendBytes(body, metrics)
	if why := t.Why(); why != "" {
		body = protowire.AppendTag(body, numStatus, protowire.VarintType)
		body = protowire.AppendVarint(body, 1)
		body = protowire.AppendTag(body, numMessage, protowire.BytesType)
		body = protowire.AppendString(body, valid(why))
	}
	return body, nil
}

// Bytes that a span takes in answers, roughly, for the first size of buffers.
const (
	protoSpan = 450
	jsonSpan  = 900
)

// roomFor guesses the size of an answer.
func roomFor(t *store.Trace, span int) int {
	const most = 32 << 20
	return min(len(t.Spans)*span, most) + 512
}

func jsonTraceByID(t *store.Trace) ([]byte, error) {
	var j jsonWriter
	if t != nil {
		j.b = make([]byte, 0, roomFor(t, jsonSpan))
	}
	j.object()
	j.openField("trace", '{')
	if t != nil {
		if err := j.traceJSON("resourceSpans", nameResources(&t.Batch)); err != nil {
			return nil, err
		}
	}
	j.close('}')
	j.openField("metrics", '{')
	if t != nil {
		j.uint64Field("inspectedBytes", t.InspectedBytes)
	}
	j.close('}')
	if t != nil && t.Why() != "" {
		j.stringField("status", "PARTIAL")
		j.stringField("message", t.Why())
	}
	j.close('}')
	return j.b, nil
}

// isUUID accepts the text form of RFC 9562.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
