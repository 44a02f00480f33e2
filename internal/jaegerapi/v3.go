package jaegerapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// v3Endpoints are version 3 over HTTP (J-23).
var v3Endpoints = map[string]serveFunc{
	"GET /api/v3/services":        (*API).v3Services,
	"GET /api/v3/operations":      (*API).v3Operations,
	"GET /api/v3/traces":          (*API).v3Traces,
	"GET /api/v3/traces/{id}":     (*API).v3Trace,
	"GET /api/v3/trace-summaries": (*API).v3Summaries,
	"GET /api/v3/dependencies":    (*API).v3Dependencies,
}

// v3Error is J-25.
func v3Error(code int, text string) []byte {
	type details struct {
		Code    int    `json:"httpCode"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Error details `json:"error"`
	}{details{code, text}})
	if err != nil {
		return nil // A struct of a text and a number can be encoded.
	}
	return body
}

func (a *API) v3Services(r *http.Request) ([]byte, error) {
	services, err := a.services(r.Context(), clientOf(r))
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"services": services})
}

func (a *API) v3Operations(r *http.Request) ([]byte, error) {
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	if p.Get("service") == "" {
		return nil, query.Invalidf("parameter service is required")
	}
	list, err := a.operations(r.Context(), clientOf(r), p.Get("service"), param(p, "spanKind", "span_kind"))
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"operations": list})
}

func (a *API) v3Trace(r *http.Request) ([]byte, error) {
	id, err := spanid.ParseTraceID(r.PathValue("id"))
	if err != nil {
		return nil, query.Invalidf("%s", err)
	}
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	// A trace is found without them; they are checked and not used.
	for _, names := range [][2]string{{"startTime", "start_time"}, {"endTime", "end_time"}} {
		if _, _, err := rfc3339Param(p, names[0], names[1]); err != nil {
			return nil, err
		}
	}
	if err := checkBool(p, "rawTraces", "raw_traces"); err != nil {
		return nil, err
	}
	td := ptrace.NewTraces()
	if _, err := a.trace(r.Context(), clientOf(r), id, func(t *store.Trace) error { return appendOTLP(td, t) }); err != nil {
		return nil, err
	}
	return v3Result(td)
}

func (a *API) v3Traces(r *http.Request) ([]byte, error) {
	q, err := v3Query(r)
	if err != nil {
		return nil, err
	}
	td, spans := ptrace.NewTraces(), spanCount(0)
	err = a.find(r.Context(), clientOf(r), q, func(_ spanid.TraceID, t *store.Trace) error {
		if err := spans.add(t); err != nil {
			return err
		}
		return appendOTLP(td, t)
	})
	if err != nil {
		return nil, err
	}
	return v3Result(td)
}

func appendOTLP(dst ptrace.Traces, t *store.Trace) error {
	td, err := otlpspan.Build(warned(t))
	if err != nil {
		return err
	}
	td.ResourceSpans().MoveAndAppendTo(dst.ResourceSpans())
	return nil
}

// v3Result encodes traces in OTLP's JSON (J-26). No traces are an error (J-25).
func v3Result(td ptrace.Traces) ([]byte, error) {
	if td.ResourceSpans().Len() == 0 {
		return nil, &statusError{http.StatusNotFound, "no traces found"}
	}
	body, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
	if err != nil {
		return nil, err
	}
	out := append(append([]byte(`{"result":`), body...), '}')
	if !utf8.Valid(out) { // Clients refuse the whole answer otherwise.
		out = bytes.ToValidUTF8(out, []byte("\uFFFD"))
	}
	return out, nil
}

// v3Summary is TraceSummary in protobuf's JSON, with zeros written (J-22, J-23, J-26).
type v3Summary struct {
	TraceID      string             `json:"traceId"`
	RootService  string             `json:"rootServiceName"`
	RootName     string             `json:"rootOperationName"`
	Start        string             `json:"minStartTimeUnixNano"`
	End          string             `json:"maxEndTimeUnixNano"`
	Spans        int32              `json:"spanCount"`
	ErrorSpans   int32              `json:"errorSpanCount"`
	OrphanSpans  int32              `json:"orphanSpanCount"`
	ServiceNames []v3ServiceSummary `json:"services"`
}

type v3ServiceSummary struct {
	Name       string `json:"name"`
	Spans      int32  `json:"spanCount"`
	ErrorSpans int32  `json:"errorSpanCount"`
}

func (a *API) v3Summaries(r *http.Request) ([]byte, error) {
	q, err := v3Query(r)
	if err != nil {
		return nil, err
	}
	list := []v3Summary{}
	err = a.find(r.Context(), clientOf(r), q, func(id spanid.TraceID, t *store.Trace) error {
		s := newSummary(id, t)
		v := v3Summary{
			TraceID: id.String(), RootService: s.rootService, RootName: s.rootName,
			Start: strconv.FormatUint(s.start, 10), End: strconv.FormatUint(s.end, 10),
			Spans: s.spans, ErrorSpans: s.errors, OrphanSpans: s.orphans, ServiceNames: []v3ServiceSummary{},
		}
		for name, n := range s.services {
			v.ServiceNames = append(v.ServiceNames, v3ServiceSummary{name, n.spans, n.errors})
		}
		slices.SortFunc(v.ServiceNames, func(x, y v3ServiceSummary) int { return strings.Compare(x.Name, y.Name) })
		list = append(list, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"summaries": list})
}

func (a *API) v3Dependencies(r *http.Request) ([]byte, error) {
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	start, hasStart, err := rfc3339Param(p, "startTime", "start_time")
	if err != nil {
		return nil, err
	}
	end, hasEnd, err := rfc3339Param(p, "endTime", "end_time")
	if err != nil {
		return nil, err
	}
	if !hasStart || !hasEnd {
		return nil, query.Invalidf("startTime and endTime are required")
	}
	list, err := a.dependencies(r.Context(), clientOf(r), start, end)
	if err != nil {
		return nil, err
	}
	type v3Dependency struct { // 64-bit numbers are strings in protobuf's JSON.
		Parent    string `json:"parent"`
		Child     string `json:"child"`
		CallCount uint64 `json:"callCount,string"`
	}
	out := make([]v3Dependency, len(list))
	for i, d := range list {
		out[i] = v3Dependency(d)
	}
	return json.Marshal(map[string]any{"dependencies": out})
}

// v3Query decodes the parameters of a search (J-24).
func v3Query(r *http.Request) (q traceQuery, err error) {
	p, err := parseQuery(r)
	if err != nil {
		return q, err
	}
	q = traceQuery{
		service:   param(p, "query.serviceName", "query.service_name"),
		operation: param(p, "query.operationName", "query.operation_name"),
		tags:      map[string]string{}, limit: defaultLimit,
	}
	var hasStart, hasEnd bool
	if q.start, hasStart, err = rfc3339Param(p, "query.startTimeMin", "query.start_time_min"); err != nil {
		return q, err
	}
	if q.end, hasEnd, err = rfc3339Param(p, "query.startTimeMax", "query.start_time_max"); err != nil {
		return q, err
	}
	if !hasStart || !hasEnd {
		return q, query.Invalidf("query.startTimeMin and query.startTimeMax are required")
	}
	if q.minDuration, err = v3Duration(p, "query.durationMin", "query.duration_min"); err != nil {
		return q, err
	}
	if q.maxDuration, err = v3Duration(p, "query.durationMax", "query.duration_max"); err != nil {
		return q, err
	}
	if text := param(p, "query.searchDepth", "query.search_depth", "query.num_traces"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil {
			return q, query.Invalidf("query.searchDepth: %.100q is not a number", text)
		}
	}
	if err := tagsJSON(p.Get("query.attributes"), q.tags); err != nil {
		return q, query.Invalidf("query.attributes: %s", err)
	}
	if p.Has("query.filter") {
		return q, query.Invalidf("query.filter is not supported: use query.attributes, or TraceQL on the Tempo API")
	}
	return q, checkBool(p, "query.rawTraces", "query.raw_traces")
}

// param returns the first of several names for a parameter that is there.
func param(p url.Values, names ...string) string {
	for _, n := range names {
		if v := p.Get(n); v != "" {
			return v
		}
	}
	return ""
}

func rfc3339Param(p url.Values, names ...string) (t time.Time, ok bool, err error) {
	text := param(p, names...)
	if text == "" {
		return t, false, nil
	}
	t, err = time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, false, query.Invalidf("%s: %.100q is not a time such as 2026-01-31T08:00:00.123456789Z", names[0], text)
	}
	return t, true, nil
}

func v3Duration(p url.Values, names ...string) (time.Duration, error) {
	return durationParam(url.Values{names[0]: {param(p, names...)}}, names[0])
}

// checkBool reads a parameter that makes no difference here: every trace is raw.
func checkBool(p url.Values, names ...string) error {
	text := param(p, names...)
	if text == "" {
		return nil
	}
	if _, err := strconv.ParseBool(text); err != nil {
		return query.Invalidf("%s: %.100q is neither true nor false", names[0], text)
	}
	return nil
}
