package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// differences says where two trees differ, one line a place, long texts by their first different line.
func differences(want, got any, at string) []string {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return mappings(w, g, at)
		}
	case []any:
		if g, ok := got.([]any); ok {
			return lists(w, g, at)
		}
	case string:
		if g, ok := got.(string); ok && strings.Contains(w, "\n") && w != g {
			return []string{at + lines(w, g)}
		}
	}
	if assert.ObjectsAreEqual(want, got) {
		return nil
	}
	return []string{fmt.Sprintf("%s: kustomize has %#v, the chart has %#v", at, want, got)}
}

func mappings(w, g map[string]any, at string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(w)) {
		if child, ok := g[key]; ok {
			out = append(out, differences(w[key], child, at+"/"+key)...)
		} else {
			out = append(out, fmt.Sprintf("%s/%s: the chart lacks it, kustomize has %#v", at, key, w[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g)) {
		if _, ok := w[key]; !ok {
			out = append(out, fmt.Sprintf("%s/%s: kustomize lacks it, the chart has %#v", at, key, g[key]))
		}
	}
	return out
}

func lists(w, g []any, at string) []string {
	var out []string
	for i := range max(len(w), len(g)) {
		place := fmt.Sprintf("%s/%d", at, i)
		switch {
		case i >= len(g):
			out = append(out, fmt.Sprintf("%s: the chart lacks it, kustomize has %#v", place, w[i]))
		case i >= len(w):
			out = append(out, fmt.Sprintf("%s: kustomize lacks it, the chart has %#v", place, g[i]))
		default:
			out = append(out, differences(w[i], g[i], place)...)
		}
	}
	return out
}

func lines(w, g string) string {
	ww, gg := strings.Split(w, "\n"), strings.Split(g, "\n")
	for i := range max(len(ww), len(gg)) {
		switch {
		case i >= len(gg):
			return fmt.Sprintf(", line %d: the chart lacks %q", i+1, ww[i])
		case i >= len(ww):
			return fmt.Sprintf(", line %d: kustomize lacks %q", i+1, gg[i])
		case ww[i] != gg[i]:
			return fmt.Sprintf(", line %d: kustomize has %q, the chart has %q", i+1, ww[i], gg[i])
		}
	}
	return ""
}

// TestDifferences shows that nothing escapes the comparison.
func TestDifferences(t *testing.T) {
	tree := func() map[string]any {
		return map[string]any{"a": map[string]any{"n": int64(1), "s": "x"}, "l": []any{"1", map[string]any{"k": true}}, "text": "one\ntwo\n"}
	}
	assert.Empty(t, differences(tree(), tree(), ""))
	for want, change := range map[string]func(m map[string]any){
		`/a/n: kustomize has 1, the chart has 2`:                                                      func(m map[string]any) { m["a"] = map[string]any{"n": int64(2), "s": "x"} },
		`/a/n: the chart lacks it, kustomize has 1`:                                                   func(m map[string]any) { m["a"] = map[string]any{"s": "x"} },
		`/b: kustomize lacks it, the chart has true`:                                                  func(m map[string]any) { m["b"] = true },
		`/l/1/k: kustomize has true, the chart has "true"`:                                            func(m map[string]any) { m["l"] = []any{"1", map[string]any{"k": "true"}} },
		`/l/2: kustomize lacks it, the chart has "3"`:                                                 func(m map[string]any) { m["l"] = append(m["l"].([]any), "3") },
		`/text, line 2: kustomize has "two", the chart has "2"`:                                       func(m map[string]any) { m["text"] = "one\n2\n" },
		`/l: kustomize has []interface {}{"1", map[string]interface {}{"k":true}}, the chart has "1"`: func(m map[string]any) { m["l"] = "1" },
	} {
		changed := tree()
		change(changed)
		assert.Equal(t, []string{want}, differences(tree(), changed, ""))
	}
}
