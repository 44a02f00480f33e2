package e2e

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	zipkinreporter "github.com/openzipkin/zipkin-go/reporter/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// TestZipkinJSON posts a trace in Zipkin's v2 JSON and finds it complete.
func TestZipkinJSON(t *testing.T) {
	b := local(t)
	traceID, root, child := randomHex(t, 16), randomHex(t, 8), randomHex(t, 8)
	start := time.Now().Truncate(time.Microsecond)
	body := fmt.Sprintf(`[
	  {"traceId":"%[1]s","id":"%[2]s","kind":"SERVER","name":"get /cart","timestamp":%[4]d,"duration":2500,
	   "localEndpoint":{"serviceName":"shop","ipv4":"192.0.2.1","port":8080},"remoteEndpoint":{"serviceName":"edge","ipv4":"192.0.2.2"},
	   "tags":{"http.method":"GET","error":"cart is gone"},"annotations":[{"timestamp":%[5]d,"value":"cache miss"}]},
	  {"traceId":"%[1]s","id":"%[3]s","parentId":"%[2]s","kind":"CLIENT","name":"select","timestamp":%[5]d,"duration":1000,
	   "localEndpoint":{"serviceName":"shop"},"tags":{"db.system":"postgresql"}},
	  {"traceId":"%[1]s","id":"00000000000000aa","parentId":"%[3]s","kind":"CONSUMER","name":"receive","timestamp":%[5]d,
	   "localEndpoint":{"serviceName":"mailer"}}
	]`, traceID, root, child, start.UnixMicro(), start.Add(7*time.Microsecond).UnixMicro())
	url := "http://" + b.Addr("receivers::zipkin") + "/api/v2/spans"
	r := b.Do(http.MethodPost, url, bytes.NewReader([]byte(body)), "Content-Type", "application/json")
	require.Equal(t, http.StatusAccepted, r.Status, "%s", r.Body)

	td := b.Trace(unhex(t, traceID)) // At once: accepted is stored.
	require.NotNil(t, td)
	assert.Equal(t, map[string]string{"get /cart": "shop", "select": "shop", "receive": "mailer"}, services(td))
	spans := byName(t, td)
	server, client, consumer := spans["get /cart"], spans["select"], spans["receive"]
	assert.Equal(t, unhex(t, root), server.GetSpanId())
	assert.Empty(t, server.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, server.GetKind())
	assert.Equal(t, uint64(start.UnixNano()), server.GetStartTimeUnixNano())
	assert.Equal(t, uint64(start.Add(2500*time.Microsecond).UnixNano()), server.GetEndTimeUnixNano())
	assert.Equal(t, tracepb.Status_STATUS_CODE_ERROR, server.GetStatus().GetCode(), "the tag error")
	assert.Equal(t, "GET", attr(server, "http.method"))
	require.Len(t, server.GetEvents(), 1)
	assert.Equal(t, "cache miss", server.GetEvents()[0].GetName())
	assert.Equal(t, uint64(start.Add(7*time.Microsecond).UnixNano()), server.GetEvents()[0].GetTimeUnixNano())
	assert.Equal(t, unhex(t, child), client.GetSpanId())
	assert.Equal(t, unhex(t, root), client.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, client.GetKind())
	assert.Equal(t, "postgresql", attr(client, "db.system"))
	assert.Equal(t, unhex(t, child), consumer.GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_CONSUMER, consumer.GetKind())
	assert.Equal(t, consumer.GetStartTimeUnixNano(), consumer.GetEndTimeUnixNano(), "a span without a duration")
}

// TestZipkinClient makes spans with Zipkin's Go client. A 64-bit trace id is padded with zeros.
func TestZipkinClient(t *testing.T) {
	b := local(t)
	reporter := zipkinreporter.NewReporter("http://"+b.Addr("receivers::zipkin")+"/api/v2/spans", zipkinreporter.Logger(log.New(io.Discard, "", 0)))
	endpoint, err := zipkin.NewEndpoint("zipkin-client", "192.0.2.7:80")
	require.NoError(t, err)
	tracer, err := zipkin.NewTracer(reporter, zipkin.WithLocalEndpoint(endpoint), zipkin.WithSharedSpans(false))
	require.NoError(t, err)
	root := tracer.StartSpan("root", zipkin.Kind(model.Server))
	child := tracer.StartSpan("child", zipkin.Parent(root.Context()), zipkin.Kind(model.Producer))
	child.Tag("k", "v")
	child.Annotate(time.Now(), "note")
	child.Finish()
	root.Finish()
	require.NoError(t, reporter.Close())

	id := root.Context().TraceID
	traceID := unhex(t, fmt.Sprintf("%016x%016x", id.High, id.Low))
	td := b.WaitTrace(traceID, 2)
	spans := byName(t, td)
	assert.Equal(t, map[string]string{"root": "zipkin-client", "child": "zipkin-client"}, services(td))
	assert.Equal(t, spans["root"].GetSpanId(), spans["child"].GetParentSpanId())
	assert.Equal(t, tracepb.Span_SPAN_KIND_PRODUCER, spans["child"].GetKind())
	assert.Equal(t, "v", attr(spans["child"], "k"))
	require.Len(t, spans["child"].GetEvents(), 1)
	assert.Equal(t, "note", spans["child"].GetEvents()[0].GetName())
}

// TestZipkinGarbage posts what is not Zipkin: 400, and the process lives.
func TestZipkinGarbage(t *testing.T) {
	b := local(t)
	url := "http://" + b.Addr("receivers::zipkin")
	for _, c := range []struct {
		name, path, contentType, body string
		status                        int
	}{
		{"cut JSON", "/api/v2/spans", "application/json", `[{"traceId":`, 400},
		{"no array", "/api/v2/spans", "application/json", `{"traceId":"1"}`, 400},
		{"bad id", "/api/v2/spans", "application/json", `[{"traceId":"xyz","id":"1","name":"a"}]`, 400},
		{"no id", "/api/v2/spans", "application/json", `[{"traceId":"1","name":"a"}]`, 400},
		{"bad protobuf", "/api/v2/spans", "application/x-protobuf", "garbage", 400},
		{"bad thrift", "/api/v1/spans", "application/x-thrift", "garbage", 400},
		{"bad JSON v1", "/api/v1/spans", "application/json", `[{"traceId":7}]`, 400},
		{"any other path is taken as v2", "/api/v3/spans", "application/json", `[]`, 202},
		{"empty list", "/api/v2/spans", "application/json", `[]`, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.Do(http.MethodPost, url+c.path, bytes.NewReader([]byte(c.body)), "Content-Type", c.contentType)
			assert.Equal(t, c.status, r.Status, "%s", r.Body)
		})
	}
	assert.True(t, b.Running())
}
