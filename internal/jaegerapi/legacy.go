package jaegerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/bramble-tracing/bramble/internal/otlpspan"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// legacyEndpoints are Jaeger's first HTTP API (8.1, 8.2).
var legacyEndpoints = map[string]serveFunc{
	"GET /api/services":                      (*API).legacyServices,
	"GET /api/services/{service}/operations": (*API).legacyServiceOperations,
	"GET /api/operations":                    (*API).legacyOperations,
	"GET /api/traces":                        (*API).legacySearch,
	"GET /api/traces/{id}":                   (*API).legacyTrace,
	"GET /api/dependencies":                  (*API).legacyDependencies,
	"POST /api/transform":                    (*API).legacyTransform,
	"GET /api/metrics/":                      unsupported("RED metrics are served to Prometheus and not by this API: see docs/metrics.md"), // J-07
	"POST /api/archive/{id}":                 unsupported("there is no archive: use the retention of trace_store"),
	"GET /api/quality-metrics":               unsupported("quality metrics are not collected"),
	"GET /analytics/v1/dependencies":         unsupported("deep dependencies are not computed: use /api/dependencies"),
}

func unsupported(text string) serveFunc {
	return func(*API, *http.Request) ([]byte, error) { return nil, &statusError{http.StatusNotImplemented, text} }
}

// envelope is around every answer of the legacy API (J-01).
type envelope struct {
	Data   any             `json:"data"`
	Total  int             `json:"total"`
	Limit  int             `json:"limit"`
	Offset int             `json:"offset"`
	Errors []envelopeError `json:"errors"`
}

type envelopeError struct {
	Code    int    `json:"code"`
	Msg     string `json:"msg"`
	TraceID string `json:"traceID,omitempty"`
}

func legacyError(code int, text string) []byte {
	body, err := json.Marshal(envelope{Errors: []envelopeError{{Code: code, Msg: text}}})
	if err != nil {
		return nil // A struct of texts and numbers can be encoded.
	}
	return body
}

func listOf[T any](list []T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{Data: list, Total: len(list)})
}

func (a *API) legacyServices(r *http.Request) ([]byte, error) { // J-05
	return listOf(a.services(r.Context(), clientOf(r)))
}

func (a *API) legacyServiceOperations(r *http.Request) ([]byte, error) { // J-05
	return listOf(a.operationNames(r.Context(), clientOf(r), r.PathValue("service")))
}

func (a *API) legacyOperations(r *http.Request) ([]byte, error) { // J-05
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	if p.Get("service") == "" {
		return nil, query.Invalidf("parameter 'service' is required")
	}
	return listOf(a.operations(r.Context(), clientOf(r), p.Get("service"), p.Get("spanKind")))
}

// legacySearch finds traces by ids or by conditions (J-04).
func (a *API) legacySearch(r *http.Request) ([]byte, error) {
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	if ids := p["traceID"]; len(ids) > 0 {
		return a.legacyByIDs(r, ids)
	}
	q, err := a.legacyQuery(p)
	if err != nil {
		return nil, err
	}
	traces, spans := []*uiTrace{}, spanCount(0)
	err = a.find(r.Context(), clientOf(r), q, func(id spanid.TraceID, t *store.Trace) error {
		if err := spans.add(t); err != nil {
			return err
		}
		ui, err := newUITrace(id.String(), t)
		traces = append(traces, ui)
		return err
	})
	return listOf(traces, err)
}

// legacyByIDs answers with the traces that are there, and an error for each that is not.
func (a *API) legacyByIDs(r *http.Request, ids []string) ([]byte, error) {
	if len(ids) > maxLimit {
		return nil, query.Invalidf("at most %d ids can be asked for at once", maxLimit)
	}
	e := envelope{}
	traces, spans := []*uiTrace{}, spanCount(0)
	for _, text := range ids {
		id, err := spanid.ParseTraceID(text)
		if err != nil {
			return nil, query.Invalidf("parameter 'traceID': %s", err)
		}
		found, err := a.trace(r.Context(), clientOf(r), id, func(t *store.Trace) error {
			if err := spans.add(t); err != nil {
				return err
			}
			ui, err := newUITrace(id.String(), t)
			traces = append(traces, ui)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !found {
			e.Errors = append(e.Errors, envelopeError{Code: http.StatusNotFound, Msg: "trace not found", TraceID: id.String()})
		}
	}
	e.Data, e.Total = traces, len(traces)
	return json.Marshal(e)
}

func (a *API) legacyTrace(r *http.Request) ([]byte, error) { // J-01, J-02
	id, err := spanid.ParseTraceID(r.PathValue("id"))
	if err != nil {
		return nil, query.Invalidf("%s", err)
	}
	var ui *uiTrace
	found, err := a.trace(r.Context(), clientOf(r), id, func(t *store.Trace) (err error) {
		ui, err = newUITrace(id.String(), t)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &statusError{http.StatusNotFound, "trace not found"}
	}
	return json.Marshal(envelope{Data: []*uiTrace{ui}, Total: 1})
}

// defaultLookback is what is searched without a start.
const defaultLookback = 48 * time.Hour

// legacyQuery decodes the parameters of a search (J-04).
func (a *API) legacyQuery(p url.Values) (q traceQuery, err error) {
	q = traceQuery{service: p.Get("service"), operation: p.Get("operation"), limit: defaultLimit, tags: map[string]string{}}
	if q.service == "" {
		return q, query.Invalidf("parameter 'service' is required")
	}
	now := a.opts.Now()
	if q.end, err = timeParam(p, "end", now.Add(time.Second), time.Microsecond); err != nil {
		return q, err
	}
	if q.start, err = timeParam(p, "start", now.Add(-defaultLookback), time.Microsecond); err != nil {
		return q, err
	}
	if q.minDuration, err = durationParam(p, "minDuration"); err != nil {
		return q, err
	}
	if q.maxDuration, err = durationParam(p, "maxDuration"); err != nil {
		return q, err
	}
	if text := p.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil {
			return q, query.Invalidf("parameter 'limit': %q is not a number", text)
		}
	}
	for _, text := range p["tags"] {
		if err := tagsJSON(text, q.tags); err != nil {
			return q, query.Invalidf("parameter 'tags': %s", err)
		}
	}
	for _, text := range p["tag"] {
		key, value, ok := strings.Cut(text, ":")
		if !ok || key == "" {
			return q, query.Invalidf("parameter 'tag': %q is not key:value", text)
		}
		q.tags[key] = value
	}
	return q, nil
}

// tagsJSON reads an object of strings. Numbers and booleans are taken for their text.
func tagsJSON(text string, into map[string]string) error {
	if text == "" {
		return nil
	}
	var tags map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&tags); err != nil {
		return fmt.Errorf("%.200q is not a JSON object of strings: %w", text, err)
	}
	if dec.More() {
		return fmt.Errorf("%.200q has something behind the JSON object", text)
	}
	for k, v := range tags {
		switch v := v.(type) {
		case string:
			into[k] = v
		case json.Number, bool:
			into[k] = fmt.Sprint(v)
		default:
			return fmt.Errorf("the value of %q is not a string", k)
		}
	}
	return nil
}

func (a *API) legacyDependencies(r *http.Request) ([]byte, error) { // J-06
	p, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	end, err := timeParam(p, "endTs", a.opts.Now().Add(time.Second), time.Millisecond)
	if err != nil {
		return nil, err
	}
	lookback := 24 * time.Hour
	if text := p.Get("lookback"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms <= 0 || ms > int64(maxLookback/time.Millisecond) {
			return nil, query.Invalidf("parameter 'lookback': %.100q is not a number of milliseconds between 1 and %d", text, maxLookback/time.Millisecond)
		}
		lookback = time.Duration(ms) * time.Millisecond
	}
	return listOf(a.dependencies(r.Context(), clientOf(r), end.Add(-lookback), end))
}

const maxLookback = 10 * 365 * 24 * time.Hour

// maxTransform bounds what may be posted to be transformed, in bytes.
const maxTransform = 32 << 20

// legacyTransform shows posted OTLP as Jaeger's model, so that a file can be looked at in the UI.
func (a *API) legacyTransform(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxTransform+1))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || len(body) > maxTransform {
		return nil, &statusError{http.StatusRequestEntityTooLarge, "the file is too large to be transformed"}
	}
	if err != nil {
		return nil, query.Invalidf("read the body: %s", err)
	}
	td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(body)
	if err != nil {
		return nil, query.Invalidf("the body is not OTLP in JSON: %s", err)
	}
	var b store.Batch
	if err := otlpspan.Flatten(td, &b); err != nil {
		return nil, query.Invalidf("the body cannot be shown: %s", err)
	}
	traces := []*uiTrace{}
	for _, t := range splitTraces(&b) {
		ui, err := newUITrace(t.Spans[0].TraceID.String(), t)
		if err != nil {
			return nil, err
		}
		traces = append(traces, ui)
	}
	return listOf(traces, nil)
}

// splitTraces makes one trace of the spans of each trace id, in the order of their first spans.
func splitTraces(b *store.Batch) []*store.Trace {
	var out []*store.Trace
	at := map[spanid.TraceID]*store.Trace{}
	for _, s := range b.Spans {
		t := at[s.TraceID]
		if t == nil {
			t = &store.Trace{Batch: store.Batch{Resources: b.Resources, Scopes: b.Scopes}}
			at[s.TraceID] = t
			out = append(out, t)
		}
		t.Spans = append(t.Spans, s)
	}
	return out
}
