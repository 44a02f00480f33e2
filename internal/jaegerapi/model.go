package jaegerapi

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
)

// The legacy API's model of a trace (J-02).
type (
	uiTrace struct {
		TraceID   string               `json:"traceID"`
		Spans     []uiSpan             `json:"spans"`
		Processes map[string]uiProcess `json:"processes"`
		Warnings  []string             `json:"warnings"`
	}
	uiSpan struct {
		TraceID       string        `json:"traceID"`
		SpanID        string        `json:"spanID"`
		OperationName string        `json:"operationName"`
		References    []uiReference `json:"references"`
		StartTime     uint64        `json:"startTime"` // µs
		Duration      uint64        `json:"duration"`  // µs
		Tags          []uiTag       `json:"tags"`
		Logs          []uiLog       `json:"logs"`
		ProcessID     string        `json:"processID"`
		Warnings      []string      `json:"warnings"`
	}
	uiReference struct {
		RefType string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	}
	uiTag struct {
		Key   string `json:"key"`
		Type  string `json:"type"`
		Value any    `json:"value"`
	}
	uiLog struct {
		Timestamp uint64  `json:"timestamp"` // µs
		Fields    []uiTag `json:"fields"`
	}
	uiProcess struct {
		ServiceName string  `json:"serviceName"`
		Tags        []uiTag `json:"tags"`
	}
)

// unknownService is the name of a service that does not say its own, as in OpenTelemetry's resource conventions.
const unknownService = "unknown_service"

// newUITrace makes the model of a trace. It shares no memory with t but strings, which live as long as they are used.
func newUITrace(id string, t *store.Trace) (*uiTrace, error) {
	out := &uiTrace{TraceID: id, Spans: make([]uiSpan, 0, len(t.Spans)), Processes: map[string]uiProcess{}}
	if why := t.Why(); why != "" {
		out.Warnings = []string{why}
	}
	processes := make(map[int32]string)
	for i := range t.Spans {
		s := &t.Spans[i]
		process, ok := processes[s.Resource]
		if !ok {
			p, err := newProcess(&t.Resources[s.Resource])
			if err != nil {
				return nil, err
			}
			process = "p" + strconv.Itoa(len(processes)+1)
			processes[s.Resource] = process
			out.Processes[process] = p
		}
		ui, err := newSpan(s, &t.Scopes[s.Scope], process)
		if err != nil {
			return nil, err
		}
		out.Spans = append(out.Spans, ui)
	}
	return out, nil
}

func newProcess(r *store.Resource) (uiProcess, error) {
	p := uiProcess{ServiceName: serviceName(r), Tags: []uiTag{}}
	for _, a := range r.Attrs {
		if a.Key == "service.name" {
			continue
		}
		tag, err := newTag(a.Key, a.Value)
		if err != nil {
			return p, err
		}
		p.Tags = append(p.Tags, tag)
	}
	return p, nil
}

// serviceName is the resource's service.name.
func serviceName(r *store.Resource) string {
	for _, a := range r.Attrs {
		if a.Key == "service.name" && a.Value.Type == store.TypeString && a.Value.Str != "" {
			return strings.Clone(a.Value.Str)
		}
	}
	return unknownService
}

func newSpan(s *store.Span, scope *store.Scope, process string) (uiSpan, error) {
	ui := uiSpan{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), OperationName: strings.Clone(s.Name), ProcessID: process,
		StartTime: s.StartNano / 1000, Duration: s.DurationNano() / 1000,
		References: []uiReference{}, Tags: make([]uiTag, 0, len(s.Attrs)+6), Logs: []uiLog{},
	}
	if !s.ParentID.IsZero() {
		ui.References = append(ui.References, uiReference{"CHILD_OF", ui.TraceID, s.ParentID.String()})
	}
	for _, l := range s.Links {
		ui.References = append(ui.References, uiReference{refType(&l), l.TraceID.String(), l.SpanID.String()})
	}
	var err error
	if ui.Tags, err = appendTags(ui.Tags, s.Attrs); err != nil {
		return ui, err
	}
	ui.Tags = append(ui.Tags, fieldTags(s, scope)...)
	for i := range s.Events {
		e := &s.Events[i]
		log := uiLog{Timestamp: e.TimeNano / 1000, Fields: []uiTag{}}
		if e.Name != "" {
			log.Fields = append(log.Fields, stringTag("event", e.Name))
		}
		if log.Fields, err = appendTags(log.Fields, e.Attrs); err != nil {
			return ui, err
		}
		ui.Logs = append(ui.Logs, log)
	}
	return ui, nil
}

// refType is FOLLOWS_FROM (J-03), unless the link came from Jaeger as another parent.
func refType(l *store.Link) string {
	for _, a := range l.Attrs {
		if a.Key == "opentracing.ref_type" && a.Value.Type == store.TypeString && a.Value.Str == "child_of" {
			return "CHILD_OF"
		}
	}
	return "FOLLOWS_FROM"
}

// fieldTags are the tags that OTLP has fields for (J-03).
func fieldTags(s *store.Span, scope *store.Scope) []uiTag {
	var tags []uiTag
	add := func(key, value string) {
		if value != "" {
			tags = append(tags, stringTag(key, value))
		}
	}
	add("span.kind", kindName(s.Kind))
	switch s.StatusCode {
	case statusOK:
		add("otel.status_code", "OK")
	case statusErr:
		add("otel.status_code", "ERROR")
		tags = append(tags, uiTag{"error", "bool", true})
	}
	add("otel.status_description", s.StatusMessage)
	add("otel.scope.name", scope.Name)
	add("otel.scope.version", scope.Version)
	add("w3c.tracestate", s.TraceState)
	for _, d := range []struct {
		key string
		n   uint32
	}{
		{"otel.dropped_attributes_count", s.DroppedAttrs}, {"otel.dropped_events_count", s.DroppedEvents}, {"otel.dropped_links_count", s.DroppedLinks},
	} {
		if d.n > 0 {
			tags = append(tags, uiTag{d.key, "int64", d.n})
		}
	}
	return tags
}

// Codes of OTLP's Status.
const (
	statusOK  = 1
	statusErr = 2
)

func stringTag(key, value string) uiTag { return uiTag{key, "string", strings.Clone(value)} }

func appendTags(dst []uiTag, attrs []store.Attr) ([]uiTag, error) {
	for _, a := range attrs {
		tag, err := newTag(a.Key, a.Value)
		if err != nil {
			return dst, err
		}
		dst = append(dst, tag)
	}
	return dst, nil
}

// maxSafeInteger is the largest integer that JavaScript's numbers hold exactly. Larger ones are texts, as in Jaeger.
const maxSafeInteger = 1<<53 - 1

func newTag(key string, v store.Value) (uiTag, error) {
	key = strings.Clone(key)
	switch v.Type {
	case store.TypeString:
		return stringTag(key, v.Str), nil
	case store.TypeBool:
		return uiTag{key, "bool", v.Bool()}, nil
	case store.TypeInt:
		if n := v.Int(); n > maxSafeInteger || n < -maxSafeInteger {
			return uiTag{key, "int64", strconv.FormatInt(n, 10)}, nil
		}
		return uiTag{key, "int64", v.Int()}, nil
	case store.TypeFloat:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) { // JSON has no such numbers.
			return uiTag{key, "float64", strconv.FormatFloat(f, 'g', -1, 64)}, nil
		}
		return uiTag{key, "float64", v.Float()}, nil
	case store.TypeBytes:
		return uiTag{key, "binary", base64.StdEncoding.EncodeToString([]byte(v.Str))}, nil
	case store.TypeArray, store.TypeMap: // Jaeger has no such tags: their JSON is one.
		plain, err := plainValue(v)
		if err != nil {
			return uiTag{}, err
		}
		text, err := json.Marshal(plain)
		return uiTag{key, "string", string(text)}, err
	}
	return uiTag{key, "string", ""}, nil
}

// plainValue is a value as encoding/json writes it.
func plainValue(v store.Value) (any, error) {
	switch v.Type {
	case store.TypeArray:
		elems, err := v.Elems()
		out := make([]any, 0, len(elems))
		for _, e := range elems {
			plain, err := plainValue(e)
			if err != nil {
				return nil, err
			}
			out = append(out, plain)
		}
		return out, err
	case store.TypeMap:
		attrs, err := v.Attrs()
		out := make(map[string]any, len(attrs))
		for _, a := range attrs {
			plain, err := plainValue(a.Value)
			if err != nil {
				return nil, err
			}
			out[a.Key] = plain
		}
		return out, err
	case store.TypeEmpty, store.TypeAbsent:
		return nil, nil
	}
	tag, err := newTag("", v)
	return tag.Value, err
}

// summary is what a list of traces shows of one (J-22).
type summary struct {
	id                    spanid.TraceID
	rootService, rootName string
	start, end            uint64 // Unix nanoseconds
	spans, errors         int32
	orphans               int32 // spans whose parent is not there
	services              map[string]*serviceSummary
}

type serviceSummary struct{ spans, errors int32 }

func newSummary(id spanid.TraceID, t *store.Trace) summary {
	out := summary{id: id, start: math.MaxUint64, services: map[string]*serviceSummary{}}
	there := make(map[spanid.SpanID]bool, len(t.Spans))
	for i := range t.Spans {
		there[t.Spans[i].SpanID] = true
	}
	rootAt := uint64(math.MaxUint64)
	for i := range t.Spans {
		s := &t.Spans[i]
		name := serviceName(&t.Resources[s.Resource])
		service := out.services[name]
		if service == nil {
			service = &serviceSummary{}
			out.services[name] = service
		}
		out.spans++
		service.spans++
		if s.StatusCode == statusErr {
			out.errors++
			service.errors++
		}
		out.start, out.end = min(out.start, s.StartNano), max(out.end, s.EndNano, s.StartNano)
		switch {
		case s.ParentID.IsZero():
			if s.StartNano < rootAt {
				rootAt, out.rootService, out.rootName = s.StartNano, name, strings.Clone(s.Name)
			}
		case !there[s.ParentID]:
			out.orphans++
		}
	}
	if out.spans == 0 {
		out.start = 0
	}
	return out
}
