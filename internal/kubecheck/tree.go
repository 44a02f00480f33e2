package kubecheck

import (
	"fmt"
	"slices"
	"strings"
)

// A configuration comes as it was written, or marshalled from the components' settings; both are trees of maps, but lists
// may be of strings or of anything.

// used lists the ids of a class that pipelines name, sorted. Connectors are among the exporters.
func used(conf map[string]any, class string) []string {
	var out []string
	for _, p := range branch(conf, "service", "pipelines") {
		pipeline, _ := p.(map[string]any)
		out = append(out, list(pipeline[class])...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// branch returns the map at a path, or nil.
func branch(t map[string]any, path ...string) map[string]any {
	for _, p := range path {
		t, _ = t[p].(map[string]any)
	}
	return t
}

func typeOf(id string) string {
	t, _, _ := strings.Cut(id, "/")
	return t
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func list(v any) (out []string) {
	switch l := v.(type) {
	case []string:
		return l
	case []any:
		for _, e := range l {
			out = append(out, fmt.Sprint(e))
		}
	}
	return out
}

func trees(v any) (out []map[string]any) {
	switch l := v.(type) {
	case []map[string]any:
		return l
	case []any:
		for _, e := range l {
			if m, ok := e.(map[string]any); ok {
				out = append(out, m)
			}
		}
	}
	return out
}
