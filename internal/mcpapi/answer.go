package mcpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bramble-tracing/bramble/internal/query"
)

const (
	// maxAnswer is how many bytes of JSON the elements of an answer may have together.
	maxAnswer = 256 << 10
	// maxText is how many bytes of one text are shown.
	maxText = 2 << 10
)

// notes is what every answer may have to say about itself.
type notes struct {
	// Truncated says what was left out so that the answer stays readable, and how to ask for less.
	Truncated string `json:"truncated,omitempty"`
	// Partial says what the query service left out or could not read.
	Partial string `json:"partial,omitempty"`
	// MissingNodes are the agents that did not answer.
	MissingNodes []string `json:"missingNodes,omitempty"`
	// Notice is for people who read answers.
	Notice string `json:"notice,omitempty"`
}

func (a *API) notes(partial string, missing []string) notes {
	return notes{Partial: text(partial), MissingNodes: missing, Notice: text(a.service.Notice())}
}

// truncate adds a reason to those that are there.
func (n *notes) truncate(format string, args ...any) {
	if n.Truncated != "" {
		n.Truncated += "; "
	}
	n.Truncated += fmt.Sprintf(format, args...)
}

// room is what is left of an answer.
type room struct {
	left    int
	omitted int
}

// encode returns v as JSON, or nil if there is no room for it any more.
func (r *room) encode(v any) (json.RawMessage, error) {
	b, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(b)+1 > r.left {
		r.omitted++
		return nil, nil
	}
	r.left -= len(b) + 1
	return b, nil
}

// encode is json.Marshal without escapes for HTML, which would only be harder to read.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// result is a tool's answer.
func result(v any) (*mcp.CallToolResult, any, error) {
	b, err := encode(v)
	if err != nil {
		return nil, nil, err
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(b)}}}, nil, nil
}

// failed gives an error the text that helps who asked.
func failed(err error) error {
	switch query.KindOf(err) {
	case query.KindOverloaded:
		return fmt.Errorf("%w: wait a moment, and ask for a shorter time range", err)
	case query.KindTimeout:
		return fmt.Errorf("%w: ask for a shorter time range or add conditions", err)
	case query.KindInvalid:
		return fmt.Errorf("%w (the tool docs-traceql explains the language)", err)
	case query.KindInternal, query.KindNotFound, query.KindUnsupported, query.KindUnavailable, query.KindCanceled:
	}
	return err
}

// text is s as valid UTF-8 of at most maxText bytes.
func text(s string) string {
	if len(s) <= maxText {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:maxText], "\uFFFD") + fmt.Sprintf("… (cut, %d bytes in all)", len(s))
}
