package ast

import "strings"

// Scope says where the value of an attribute is looked up (E-02, E-03).
type Scope uint8

// The scopes. ScopeIntrinsic marks an intrinsic.
const (
	ScopeNone Scope = iota
	ScopeIntrinsic
	ScopeSpan
	ScopeResource
	ScopeEvent
	ScopeLink
	ScopeInstrumentation
)

var scopeNames = [...]string{"", "intrinsic", "span", "resource", "event", "link", "instrumentation"}

func (s Scope) String() string { return scopeNames[s] }

// ParseScope returns the scope of a prefix in a query, such as span in span.x.
func ParseScope(word string) (Scope, bool) {
	for s := ScopeSpan; s <= ScopeInstrumentation; s++ {
		if scopeNames[s] == word {
			return s, true
		}
	}
	return ScopeNone, false
}

// Intrinsic is a value that every span or trace has without attributes. The scoped spellings are the same values as
// the bare ones (E-04), so there is one constant for both.
type Intrinsic uint8

// The intrinsics.
const (
	NoIntrinsic Intrinsic = iota
	Name
	StatusCode
	StatusMessage
	SpanKind
	SpanDuration
	RootName
	RootService
	TraceDuration
	NestedSetLeft
	NestedSetRight
	NestedSetParent
	TraceID
	SpanID
	ParentID
	ChildCount
	EventName
	EventTimeSinceStart
	LinkTraceID
	LinkSpanID
	ScopeName
	ScopeVersion
	TraceDecision // Ours: what tail sampling decided, and which policy did.
	TracePolicy
	Parent // Parses and is refused (L-47).
)

// intrinsics holds per Intrinsic the canonical spelling, another one if there is, and the type.
var intrinsics = [...]struct {
	text, other string
	typ         Type
}{
	NoIntrinsic:         {},
	Name:                {"name", "span:name", TypeString},
	StatusCode:          {"status", "span:status", TypeStatus},
	StatusMessage:       {"statusMessage", "span:statusMessage", TypeString},
	SpanKind:            {"kind", "span:kind", TypeKind},
	SpanDuration:        {"duration", "span:duration", TypeDuration},
	RootName:            {"rootName", "trace:rootName", TypeString},
	RootService:         {"rootServiceName", "trace:rootService", TypeString},
	TraceDuration:       {"traceDuration", "trace:duration", TypeDuration},
	NestedSetLeft:       {"nestedSetLeft", "", TypeInt},
	NestedSetRight:      {"nestedSetRight", "", TypeInt},
	NestedSetParent:     {"nestedSetParent", "", TypeInt},
	TraceID:             {"trace:id", "", TypeString},
	SpanID:              {"span:id", "", TypeString},
	ParentID:            {"span:parentID", "", TypeString},
	ChildCount:          {"span:childCount", "", TypeInt},
	EventName:           {"event:name", "", TypeString},
	EventTimeSinceStart: {"event:timeSinceStart", "", TypeDuration},
	LinkTraceID:         {"link:traceID", "", TypeString},
	LinkSpanID:          {"link:spanID", "", TypeString},
	ScopeName:           {"instrumentation:name", "", TypeString},
	ScopeVersion:        {"instrumentation:version", "", TypeString},
	TraceDecision:       {"trace:brambleDecision", "", TypeString},
	TracePolicy:         {"trace:bramblePolicy", "", TypeString},
	Parent:              {"parent", "", TypeNil},
}

func (i Intrinsic) String() string { return intrinsics[i].text }

// ParseIntrinsic returns the intrinsic of a spelling, bare (status) or scoped (span:status).
func ParseIntrinsic(word string) (Intrinsic, bool) {
	if word == "" {
		return NoIntrinsic, false
	}
	for i := Name; i <= Parent; i++ {
		if intrinsics[i].text == word || intrinsics[i].other == word {
			return i, true
		}
	}
	return NoIntrinsic, false
}

// ListedIntrinsics are the names that the tag endpoints list, in their order (G-04).
var ListedIntrinsics = []string{
	"duration", "name", "status", "statusMessage", "kind", "rootServiceName", "rootName", "traceDuration", "event:name",
	"event:timeSinceStart", "link:spanID", "link:traceID", "instrumentation:name", "instrumentation:version",
	"trace:id", "span:id", "span:parentID", "span:status", "span:statusMessage", "span:duration", "span:name",
	"span:kind", "trace:rootName", "trace:rootService", "trace:duration",
}

// Attr is an attribute or an intrinsic. Attrs are comparable.
type Attr struct {
	Scope     Scope
	Name      string // The key of an attribute, "" for intrinsics.
	Intrinsic Intrinsic
	Parent    bool // parent.x: parses and is refused (L-47).
}

// IntrinsicAttr returns the Attr of an intrinsic.
func IntrinsicAttr(i Intrinsic) Attr { return Attr{Scope: ScopeIntrinsic, Intrinsic: i} }

// ServiceName is the attribute that every resource has, if only as the empty string (contract 11, X-17).
var ServiceName = Attr{Scope: ScopeResource, Name: "service.name"}

// Key returns the name under which search results list the value: without scope (S-25).
func (a Attr) Key() string {
	if a.Scope == ScopeIntrinsic {
		return a.Intrinsic.String()
	}
	return a.Name
}

// TraceLevel reports whether the value can be known only from the whole trace.
func (a Attr) TraceLevel() bool {
	switch a.Intrinsic {
	case RootName, RootService, TraceDuration, NestedSetLeft, NestedSetRight, NestedSetParent, ChildCount:
		return true
	}
	return false
}

// Optional reports whether it is an intrinsic that a span can lack: what was decided about its trace, before it was.
func (a Attr) Optional() bool { return a.Intrinsic == TraceDecision || a.Intrinsic == TracePolicy }

// Multi reports whether a span can have several values, one per event or link. Unscoped attributes are found in
// events and links too.
func (a Attr) Multi() bool {
	switch a.Scope {
	case ScopeEvent, ScopeLink, ScopeNone:
		return true
	}
	switch a.Intrinsic {
	case EventName, EventTimeSinceStart, LinkTraceID, LinkSpanID:
		return true
	}
	return false
}

// OneOf returns the scope whose items, events or links, have the value one by one, or ScopeNone.
func (a Attr) OneOf() Scope {
	switch {
	case a.Scope == ScopeEvent, a.Intrinsic == EventName, a.Intrinsic == EventTimeSinceStart:
		return ScopeEvent
	case a.Scope == ScopeLink, a.Intrinsic == LinkTraceID, a.Intrinsic == LinkSpanID:
		return ScopeLink
	}
	return ScopeNone
}

// Type returns the static type.
func (a Attr) Type() Type {
	if a.Scope == ScopeIntrinsic {
		return intrinsics[a.Intrinsic].typ
	}
	return TypeAttribute
}

// nameEnds are the characters that end an attribute name unless quoted (L-06), besides white space.
const nameEnds = "{}()=~!<>&|^,"

// EndsName reports whether the character ends an attribute name that is not quoted.
func EndsName(r rune) bool {
	return strings.ContainsRune(nameEnds, r) || isSpace(r)
}

func isSpace(r rune) bool {
	switch r {
	case ' ', '\t', '\n', '\r', '\v', '\f', 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

// String prints the attribute as it is written in a query. Names are quoted where the lexer needs it (L-07).
func (a Attr) String() string {
	if a.Scope == ScopeIntrinsic {
		if a.Parent {
			return "parent." + a.Intrinsic.String()
		}
		return a.Intrinsic.String()
	}
	prefix := a.Scope.String() + "."
	if a.Parent {
		prefix = "parent." + strings.TrimPrefix(prefix, ".")
	}
	return prefix + quoteName(a.Name, a.Scope == ScopeNone)
}

// Label returns the key of the attribute in the labels of metrics series: like String, but names are quoted only
// for characters that end names (observed).
func (a Attr) Label() string {
	if a.Scope == ScopeIntrinsic {
		return a.Intrinsic.String()
	}
	if strings.IndexFunc(a.Name, EndsName) >= 0 {
		return a.Scope.String() + `."` + a.Name + `"`
	}
	return a.Scope.String() + "." + a.Name
}

// quoteName quotes a name with characters that end names, and an unscoped one that would be read as a number.
func quoteName(name string, unscoped bool) string {
	plain := name != "" && (!unscoped || name[0] < '0' || name[0] > '9')
	for _, r := range name {
		if EndsName(r) || r == '"' || r == '\\' {
			plain = false
		}
	}
	if plain {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}
