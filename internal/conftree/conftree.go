// Package conftree reads a Collector configuration as a tree of maps, for those who look at other components' settings
// without knowing their types. The tree may be as it was written or marshalled from the settings, so lists may be of strings
// or of anything, and a setting may have another type than one expects: what does not fit is as if it were not there.
package conftree

import (
	"fmt"
	"slices"
	"strings"
)

// Used lists the ids of a class that pipelines name, sorted. Connectors are among the exporters.
func Used(conf map[string]any, class string) []string {
	var out []string
	for _, p := range Branch(conf, "service", "pipelines") {
		pipeline, _ := p.(map[string]any)
		out = append(out, List(pipeline[class])...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Branch returns the map at a path, or nil.
func Branch(t map[string]any, path ...string) map[string]any {
	for _, p := range path {
		t, _ = t[p].(map[string]any)
	}
	return t
}

// TypeOf returns the type in the id of a component or pipeline.
func TypeOf(id string) string {
	t, _, _ := strings.Cut(id, "/")
	return t
}

// Text returns a text, and nothing for what is none.
func Text(v any) string {
	s, _ := v.(string)
	return s
}

// List returns a list of texts; what is none in it is written as one.
func List(v any) (out []string) {
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

// Trees returns a list of maps without what is none in it.
func Trees(v any) (out []map[string]any) {
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
