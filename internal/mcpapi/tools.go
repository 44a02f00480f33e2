package mcpapi

import "github.com/modelcontextprotocol/go-sdk/mcp"

// instructions tell a model how the tools belong together.
const instructions = `Distributed traces of this system, asked with TraceQL. Read docs-traceql before you write a query. ` +
	`get-attribute-names and get-attribute-values say what there is to ask for. Begin with traceql-metrics-instant to see where the errors or the time are, ` +
	`then find traces with traceql-search and look into one with get-trace. Times are RFC 3339; without them the last hour is looked at.`

// The names of the tools, which are those of Tempo (P-01).
const (
	toolSearch   = "traceql-search"
	toolInstant  = "traceql-metrics-instant"
	toolRange    = "traceql-metrics-range"
	toolTrace    = "get-trace"
	toolAttrs    = "get-attribute-names"
	toolValues   = "get-attribute-values"
	toolDocument = "docs-traceql"
)

var toolNames = map[string]struct{}{
	toolSearch: {}, toolInstant: {}, toolRange: {}, toolTrace: {}, toolAttrs: {}, toolValues: {}, toolDocument: {},
}

// addTools offers the tools.
func (a *API) addTools(s *mcp.Server) {
	addTool(s, toolSearch, "Search traces", "Find traces with spans that match a TraceQL query, the newest first. Of each trace the matching spans are shown, at most 3, with the attributes that the query mentions.", a.search)
	addTool(s, toolInstant, "Compute metrics", "Compute one value per series from all spans of a time range, by a TraceQL metrics query.", a.instant)
	addTool(s, toolRange, "Compute metrics over time", "Compute time series from the spans of a time range, by a TraceQL metrics query. Samples are pairs of a time in Unix seconds and a value.", a.overRange)
	addTool(s, toolTrace, "Get a trace", "Get all spans of a trace by its id, grouped by the service instance that they come from, with their attributes and events.", a.trace)
	addTool(s, toolAttrs, "List attributes", "List the names of the attributes that spans have, by scope.", a.names)
	addTool(s, toolValues, "List values of an attribute", "List the values that an attribute has, with their types.", a.values)
	addTool(s, toolDocument, "Read about TraceQL", "Read how TraceQL is written, with examples.", a.document)
}

// addTool adds a tool, all of which only read what is stored here.
func addTool[In any](s *mcp.Server, name, title, description string, handler mcp.ToolHandlerFor[In, any]) {
	no := false
	mcp.AddTool(s, &mcp.Tool{
		Name: name, Title: title, Description: description,
		Annotations: &mcp.ToolAnnotations{Title: title, ReadOnlyHint: true, IdempotentHint: true, DestructiveHint: &no, OpenWorldHint: &no},
	}, handler)
}
