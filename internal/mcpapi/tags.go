package mcpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
)

// maxNames is how many attributes of a scope, and maxValues how many values are listed.
const maxNames, maxValues = 500, 1000

// scopes are the values of the argument scope (G-03).
var scopes = []string{"resource", "span", "event", "link", "instrumentation", "intrinsic"}

// namesArgs are the arguments of get-attribute-names.
type namesArgs struct {
	Scope string `json:"scope,omitempty" jsonschema:"Only attributes of this scope: resource, span, event, link, instrumentation or intrinsic. All without it."`
	span
}

type namesAnswer struct {
	Scopes []scopeNames `json:"scopes"`
	notes
}

type scopeNames struct {
	Scope string   `json:"scope"`
	Names []string `json:"names"`
}

// valuesArgs are the arguments of get-attribute-values.
type valuesArgs struct {
	Name   string `json:"name" jsonschema:"Attribute with its scope, such as resource.service.name or span.http.route, or an intrinsic, such as name, status or kind."`
	Filter string `json:"filter-query,omitempty" jsonschema:"Only values of spans that this TraceQL matches, such as { resource.service.name = \"shop\" }."`
	span
}

type valuesAnswer struct {
	Values []value `json:"values"`
	notes
}

type value struct {
	// Type is string, int, float, bool, duration or keyword: only strings are quoted in TraceQL.
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (a *API) names(ctx context.Context, _ *mcp.CallToolRequest, in namesArgs) (*mcp.CallToolResult, any, error) {
	if in.Scope != "" && !slices.Contains(scopes, in.Scope) {
		return nil, nil, fmt.Errorf("invalid scope %q: use %s", text(in.Scope), strings.Join(scopes, ", "))
	}
	start, end, err := in.nanos(a.opts.Now(), 0, justNow)
	if err != nil {
		return nil, nil, err
	}
	res, err := a.service.TagNames(ctx, query.TagNamesRequest{Scope: in.Scope, StartNano: start, EndNano: end, Limit: maxNames + 1, Client: clientIn(ctx)})
	if err != nil {
		return nil, nil, failed(err)
	}
	out := namesAnswer{Scopes: []scopeNames{}, notes: a.notes(res.Partial, res.MissingNames())}
	left := room{left: maxAnswer}
	for _, s := range res.Scopes {
		show := scopeNames{Scope: s.Name, Names: []string{}}
		before := left.omitted
		for _, n := range s.Tags[:min(len(s.Tags), maxNames)] {
			b, err := left.encode(text(n))
			if err != nil {
				return nil, nil, err
			}
			if b != nil {
				show.Names = append(show.Names, text(n))
			}
		}
		if len(s.Tags) > maxNames || left.omitted > before {
			out.truncate("there are more attributes of scope %s: ask for a shorter time range", s.Name)
		}
		out.Scopes = append(out.Scopes, show)
	}
	return result(out)
}

func (a *API) values(ctx context.Context, _ *mcp.CallToolRequest, in valuesArgs) (*mcp.CallToolResult, any, error) {
	if in.Name == "" {
		return nil, nil, errors.New("name must not be empty: the tool get-attribute-names lists what there is")
	}
	if err := errors.Join(checkSize("name", in.Name), checkSize("filter-query", in.Filter)); err != nil {
		return nil, nil, err
	}
	start, end, err := in.nanos(a.opts.Now(), 0, justNow)
	if err != nil {
		return nil, nil, err
	}
	res, err := a.service.TagValues(ctx, query.TagValuesRequest{
		Name: in.Name, Query: in.Filter, StartNano: start, EndNano: end, Limit: maxValues + 1, Client: clientIn(ctx),
	})
	if err != nil {
		return nil, nil, failed(err)
	}
	out := valuesAnswer{Values: []value{}, notes: a.notes(res.Partial, res.MissingNames())}
	left := room{left: maxAnswer}
	for _, v := range res.Values[:min(len(res.Values), maxValues)] {
		show := value{v.Type, text(v.Text)}
		b, err := left.encode(show)
		if err != nil {
			return nil, nil, err
		}
		if b != nil {
			out.Values = append(out.Values, show)
		}
	}
	if len(res.Values) > maxValues || left.omitted > 0 {
		out.truncate("there are more than these %d values: ask for a shorter time range or use filter-query", len(out.Values))
	}
	return result(out)
}
