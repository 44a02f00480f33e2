package block

import (
	"strings"
	"unicode/utf8"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// maxKeyBytes is the longest attribute key that gets a column; longer ones are kept in the overflow column.
const maxKeyBytes = 256

// scopePrefixes are the first parts of the names of attribute columns.
var scopePrefixes = map[store.ColumnScope]string{
	store.ScopeSpan: "span.", store.ScopeResource: "resource.", store.ScopeEvent: "event.", store.ScopeLink: "link.",
	store.ScopeInstrumentation: "instrumentation.",
}

// columnTypes are the physical types of attribute values.
var columnTypes = map[store.ValueType]column.Type{
	store.TypeString: column.Text, store.TypeInt: column.Int, store.TypeFloat: column.Float, store.TypeBool: column.Bool,
	store.TypeBytes: column.Bytes, store.TypeArray: column.Bytes, store.TypeMap: column.Bytes, store.TypeEmpty: column.Bool,
}

// attrName returns the name of the column of an attribute: scope, dot, key, and for all types but string an @ and the
// type. A key that has an @ itself gets the type always, so that names are unique.
func attrName(scope store.ColumnScope, key string, t store.ValueType) string {
	name := scopePrefixes[scope] + key
	if t == store.TypeString && !strings.Contains(key, "@") {
		return name
	}
	return name + "@" + t.String()
}

// parseAttrName is the inverse of attrName.
func parseAttrName(name string) (scope store.ColumnScope, key string, t store.ValueType, ok bool) {
	for s, p := range scopePrefixes {
		if rest, found := strings.CutPrefix(name, p); found {
			scope, key, ok = s, rest, true
		}
	}
	if !ok {
		return 0, "", 0, false
	}
	at := strings.LastIndexByte(key, '@')
	if at < 0 {
		return scope, key, store.TypeString, true
	}
	for typ := range columnTypes {
		if typ.String() == key[at+1:] {
			return scope, key[:at], typ, typ != store.TypeString || strings.Contains(key[:at], "@")
		}
	}
	return 0, "", 0, false
}

// columnKey reports whether a key can name a column.
func columnKey(key string) bool {
	return len(key) <= maxKeyBytes && utf8.ValidString(key) && strings.IndexByte(key, 0) < 0
}

// attrSpec describes the column of an attribute.
func attrSpec(scope store.ColumnScope, key string, t store.ValueType) column.Spec {
	return column.Spec{
		Name: attrName(scope, key, t), Type: columnTypes[t], Optional: true, Bloom: t != store.TypeEmpty && t != store.TypeBool,
		Value: t,
	}
}

// overflowName is the column of attributes that have none of their own: a packed map as in store.Map, in order, with
// duplicates.
const overflowName = "overflow"

func overflowSpec() column.Spec {
	return column.Spec{Name: overflowName, Type: column.Bytes, Optional: true, NoDict: true, Value: store.TypeMap}
}

func intSpec(name string) column.Spec {
	return column.Spec{Name: name, Type: column.Int, Value: store.TypeInt}
}

func timeSpec(name string) column.Spec {
	return column.Spec{Name: name, Type: column.Int, Value: store.TypeInt, NoDict: true, Timestamp: true}
}

func textSpec(name string) column.Spec {
	return column.Spec{Name: name, Type: column.Text, Value: store.TypeString}
}

func idSpec(name string, width int) column.Spec {
	return column.Spec{Name: name, Type: column.Fixed, Width: width, Value: store.TypeBytes, NoDict: true}
}

func optional(s column.Spec) column.Spec { s.Optional = true; return s }
func raw(s column.Spec) column.Spec      { s.Raw = true; return s }
func noDict(s column.Spec) column.Spec   { s.NoDict = true; return s }

// The fixed columns of the tables, in file order. Their meaning is in docs/format/block.md.
const (
	colTraceID = iota
	colSpanID
	colStart
	colDuration
	colEnd
	colName
	colKind
	colStatus
	colStatusMessage
	colTraceState
	colFlags
	colDroppedAttrs
	colDroppedEvents
	colDroppedLinks
	colResource
	colScope
	colService
	colEvents
	colLinks
	colParentID
	colNestedLeft
	colNestedRight
	colParentRow
	spanColumns
)

func spanSpecs() []column.Spec {
	return []column.Spec{
		colTraceID: idSpec("trace_id", 16), colSpanID: raw(idSpec("span_id", 8)),
		colParentID: raw(optional(idSpec("parent_id", 8))),
		colStart:    timeSpec("start_time"), colDuration: noDict(intSpec("duration_nano")),
		colEnd: optional(timeSpec("end_time")), colName: textSpec("name"), colKind: intSpec("kind"),
		colStatus: intSpec("status_code"), colStatusMessage: textSpec("status_message"),
		colTraceState: textSpec("trace_state"), colFlags: intSpec("flags"),
		colDroppedAttrs: intSpec("dropped_attributes"), colDroppedEvents: intSpec("dropped_events"),
		colDroppedLinks: intSpec("dropped_links"), colResource: intSpec("resource_id"), colScope: intSpec("scope_id"),
		colService: optional(textSpec("service_name")), colEvents: intSpec("event_count"), colLinks: intSpec("link_count"),
		colNestedLeft: intSpec("nested_left"), colNestedRight: intSpec("nested_right"),
		colParentRow: optional(intSpec("parent_row")),
	}
}

const (
	colEventRow = iota
	colEventOffset
	colEventName
	colEventDropped
)

func eventSpecs() []column.Spec {
	return []column.Spec{
		colEventRow: intSpec("span_row"), colEventOffset: noDict(intSpec("time_offset_nano")), colEventName: textSpec("name"),
		colEventDropped: intSpec("dropped_attributes"),
	}
}

const (
	colLinkRow = iota
	colLinkTraceID
	colLinkSpanID
	colLinkState
	colLinkFlags
	colLinkDropped
)

func linkSpecs() []column.Spec {
	return []column.Spec{
		colLinkRow: intSpec("span_row"), colLinkTraceID: idSpec("trace_id", 16), colLinkSpanID: idSpec("span_id", 8),
		colLinkState: textSpec("trace_state"), colLinkFlags: intSpec("flags"), colLinkDropped: intSpec("dropped_attributes"),
	}
}

const (
	colResKind = iota
	colResID
	colResName
	colResVersion
	colResSchema
	colResDropped
	colResEntities
)

func resourceSpecs() []column.Spec {
	return []column.Spec{
		colResKind: textSpec("kind"), colResID: intSpec("id"), colResName: optional(textSpec("name")),
		colResVersion: optional(textSpec("version")), colResSchema: textSpec("schema_url"), colResDropped: intSpec("dropped_attributes"),
		colResEntities: optional(column.Spec{Name: "entity_refs", Type: column.Bytes, Value: store.TypeBytes}),
	}
}

// specLookup finds the description of a column of a table by its name: fixed ones first, then attributes of scopes.
func specLookup(fixed []column.Spec) func(string) (column.Spec, bool) {
	byName := make(map[string]column.Spec, len(fixed)+1)
	for _, s := range append(fixed, overflowSpec(), samplingSpec()) {
		byName[s.Name] = s
	}
	return func(name string) (column.Spec, bool) {
		if s, ok := byName[name]; ok {
			return s, true
		}
		scope, key, t, ok := parseAttrName(name)
		if !ok {
			return column.Spec{}, false
		}
		return attrSpec(scope, key, t), true
	}
}
