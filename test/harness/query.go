package harness

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// requestTimeout bounds one request to the binary.
const requestTimeout = 30 * time.Second

// Reply is an answer to an HTTP request.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends an HTTP request. header holds pairs of a name and a value. Only an error of the transport ends the test.
func (b *Bramble) Do(method, url string, body io.Reader, header ...string) Reply {
	b.tb.Helper()
	r, err := do(b.tb.Context(), http.DefaultClient, method, url, body, header...)
	require.NoError(b.tb, err)
	return r
}

// Get asks the query port.
func (b *Bramble) Get(path string, header ...string) Reply {
	b.tb.Helper()
	return b.Do(http.MethodGet, "http://"+b.QueryAddr()+path, http.NoBody, header...)
}

func do(ctx context.Context, client *http.Client, method, url string, body io.Reader, header ...string) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return Reply{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return Reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return Reply{Status: res.StatusCode, Header: res.Header, Body: text}, err
}

// Trace returns the spans of a trace as the binary answers them by id (T-01), or nil when it has none.
func (b *Bramble) Trace(traceID []byte) *tracepb.TracesData {
	b.tb.Helper()
	td, err := b.trace(b.tb.Context(), traceID)
	require.NoError(b.tb, err)
	return td
}

func (b *Bramble) trace(ctx context.Context, traceID []byte) (*tracepb.TracesData, error) {
	url := "http://" + b.QueryAddr() + "/api/v2/traces/" + hex.EncodeToString(traceID)
	r, err := do(ctx, http.DefaultClient, http.MethodGet, url, http.NoBody, "Accept", "application/protobuf")
	if err != nil {
		return nil, err
	}
	if r.Status != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d: %.200s", url, r.Status, r.Body)
	}
	td, err := decodeTraceByID(r.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", url, err)
	}
	if len(td.GetResourceSpans()) == 0 {
		return nil, nil //nolint:nilnil // Not found is no error.
	}
	return td, nil
}

// decodeTraceByID decodes the message TraceByIDResponse, whose field 1 is the trace and has the wire format of OTLP's
// TracesData. A trace that is cut short (PARTIAL, field 3) is an error: no test expects one.
func decodeTraceByID(msg []byte) (*tracepb.TracesData, error) {
	td, found := &tracepb.TracesData{}, false
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil, fmt.Errorf("decode a trace-by-id answer: %w", protowire.ParseError(n))
		}
		msg = msg[n:]
		n = protowire.ConsumeFieldValue(num, typ, msg)
		if n < 0 {
			return nil, fmt.Errorf("decode a trace-by-id answer: %w", protowire.ParseError(n))
		}
		switch {
		case num == 1 && typ == protowire.BytesType:
			found = true
			trace, _ := protowire.ConsumeBytes(msg)
			if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(trace, td); err != nil {
				return nil, fmt.Errorf("decode the trace of a trace-by-id answer: %w", err)
			}
		case num == 3:
			return nil, errors.New("the answer is partial")
		}
		msg = msg[n:]
	}
	if !found {
		return nil, errors.New("the answer has no trace field, not even an empty one (T-02)")
	}
	return td, nil
}

// Spans returns the spans of td in the order of the answer.
func Spans(td *tracepb.TracesData) []*tracepb.Span {
	var out []*tracepb.Span
	for _, rs := range td.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			out = append(out, ss.GetSpans()...)
		}
	}
	return out
}

// WaitTrace returns the trace when it has at least the given number of spans. It is for clients that do not say when
// their spans were taken.
func (b *Bramble) WaitTrace(traceID []byte, spans int) *tracepb.TracesData {
	b.tb.Helper()
	var td *tracepb.TracesData
	Poll(b.tb, requestTimeout, fmt.Sprintf("%d spans of trace %x", spans, traceID), func() (err error) {
		td, err = b.trace(b.tb.Context(), traceID)
		if err == nil && len(Spans(td)) < spans {
			err = fmt.Errorf("%d spans are there", len(Spans(td)))
		}
		return err
	})
	return td
}

// TryGet is Get that returns errors of the transport.
func (b *Bramble) TryGet(path string) (Reply, error) {
	return do(b.tb.Context(), http.DefaultClient, http.MethodGet, "http://"+b.QueryAddr()+path, http.NoBody)
}
