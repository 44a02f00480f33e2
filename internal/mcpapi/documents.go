package mcpapi

import (
	"context"
	"embed"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// documents explain TraceQL to models. Their examples are run by a test.
//
//go:embed documents/*.md
var documents embed.FS

// documentNames are in the order in which they are read.
var documentNames = []string{"basic", "aggregates", "structural", "metrics"}

// documentURI is what resources are called, with the name behind it.
const documentURI = "docs://traceql/"

// documentArgs are the arguments of docs-traceql.
type documentArgs struct {
	Name string `json:"name,omitempty" jsonschema:"Which part: basic (filters, attributes, operators), aggregates (pipelines), structural (parents and children) or metrics (numbers over time). basic without it."`
}

func (a *API) document(_ context.Context, _ *mcp.CallToolRequest, in documentArgs) (*mcp.CallToolResult, any, error) {
	if in.Name == "" {
		in.Name = documentNames[0]
	}
	body, err := readDocument(in.Name)
	if err != nil {
		return nil, nil, err
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: body}}}, nil, nil
}

func readDocument(name string) (string, error) {
	for _, n := range documentNames {
		if n == name {
			body, err := documents.ReadFile("documents/" + n + ".md")
			return string(body), err
		}
	}
	return "", fmt.Errorf("there is no document %q: use %s", text(name), strings.Join(documentNames, ", "))
}

// addDocuments offers the documents as resources, too.
func addDocuments(s *mcp.Server) {
	const markdown = "text/markdown"
	for _, name := range documentNames {
		s.AddResource(&mcp.Resource{
			Name: "traceql-" + name, Title: "TraceQL: " + name, URI: documentURI + name, MIMEType: markdown,
		}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			body, err := readDocument(name)
			if err != nil {
				return nil, err
			}
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: markdown, Text: body}}}, nil
		})
	}
}
