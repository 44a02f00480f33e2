package otlpreceiver

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/receiver"
	stock "go.opentelemetry.io/collector/receiver/otlpreceiver"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type message interface {
	request
	response
}

// kinds are the requests of all signals.
var kinds = []func() message{
	func() message { return ptraceotlp.NewExportRequest() },
	func() message { return pmetricotlp.NewExportRequest() },
	func() message { return plogotlp.NewExportRequest() },
	func() message { return pprofileotlp.NewExportRequest() },
}

func seeds(tb testing.TB, add func(kind int, asJSON bool, body []byte)) {
	tb.Helper()
	for kind, m := range []message{
		ptraceotlp.NewExportRequestFromTraces(someTraces("a name")), pmetricotlp.NewExportRequestFromMetrics(someMetrics()),
		plogotlp.NewExportRequestFromLogs(someLogs()), pprofileotlp.NewExportRequestFromProfiles(someProfiles()),
	} {
		p, err := m.MarshalProto()
		require.NoError(tb, err)
		j, err := m.MarshalJSON()
		require.NoError(tb, err)
		add(kind, false, p)
		add(kind, true, j)
		add(kind, false, p[:len(p)/2])
		add(kind, true, j[:len(j)/2])
	}
}

// decodedIsACopy fails if what was decoded changes with the memory that it was decoded from: it is used again.
func decodedIsACopy(tb testing.TB, m message, enc encoding, body []byte) {
	tb.Helper()
	memory := bytes.Clone(body)
	if enc.decode(m, memory) != nil {
		return
	}
	before, err := m.MarshalProto()
	require.NoError(tb, err)
	for i := range memory {
		memory[i] ^= 0x5a
	}
	after, err := m.MarshalProto()
	require.NoError(tb, err)
	require.Equal(tb, before, after)
}

func TestDecodedIsACopy(t *testing.T) {
	seeds(t, func(kind int, asJSON bool, body []byte) {
		enc := encoding(protoType)
		if asJSON {
			enc = jsonType
		}
		decodedIsACopy(t, kinds[kind](), enc, body)
	})
}

// FuzzBody sends anything as the body of a request of any signal: the answer is 200, or a 400 with a google.rpc.Status in
// the encoding of the request, and what was decoded does not share the request's memory.
func FuzzBody(f *testing.F) {
	seeds(f, func(kind int, asJSON bool, body []byte) { f.Add(byte(kind), asJSON, body) })
	handlers := []http.Handler{
		handler(ptraceotlp.NewExportRequest, func(context.Context, ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
			return ptraceotlp.NewExportResponse(), nil
		}),
		handler(pmetricotlp.NewExportRequest, func(context.Context, pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
			return pmetricotlp.NewExportResponse(), nil
		}),
		handler(plogotlp.NewExportRequest, func(context.Context, plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
			return plogotlp.NewExportResponse(), nil
		}),
		handler(pprofileotlp.NewExportRequest, func(context.Context, pprofileotlp.ExportRequest) (pprofileotlp.ExportResponse, error) {
			return pprofileotlp.NewExportResponse(), nil
		}),
	}
	f.Fuzz(func(t *testing.T, kind byte, asJSON bool, body []byte) {
		i := int(kind) % len(kinds)
		enc := encoding(protoType)
		if asJSON {
			enc = jsonType
		}
		decodedIsACopy(t, kinds[i](), enc, body)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", string(enc))
		w := httptest.NewRecorder()
		handlers[i].ServeHTTP(w, r)
		require.Equal(t, string(enc), w.Header().Get("Content-Type"))
		want := http.StatusOK
		if enc.decode(kinds[i](), bytes.Clone(body)) != nil {
			want = http.StatusBadRequest
			s := &spb.Status{}
			if asJSON {
				require.NoError(t, protojson.Unmarshal(w.Body.Bytes(), s))
			} else {
				require.NoError(t, proto.Unmarshal(w.Body.Bytes(), s))
			}
			require.Equal(t, int32(3), s.GetCode())
		}
		require.Equal(t, want, w.Code)
	})
}

// BenchmarkHTTP is a request of 512 spans, through the Collector's receiver and through ours.
func BenchmarkHTTP(b *testing.B) {
	td := someTraces("a name")
	spans := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	for range 511 {
		spans.At(0).CopyTo(spans.AppendEmpty())
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	require.NoError(b, err)
	for name, f := range map[string]receiver.Factory{"stock": stock.NewFactory(), "ours": NewFactory()} {
		b.Run(name, func(b *testing.B) {
			addr := serveTraces(b, f, consumertest.NewNop())
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				resp, err := client.Post("http://"+addr+"/v1/traces", protoType, bytes.NewReader(body)) //nolint:noctx // It is local.
				if err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
