package conftree

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTree(t *testing.T) {
	tree := map[string]any{
		"a": map[string]any{"b": map[string]any{"c": "x"}},
		"service": map[string]any{"pipelines": map[string]any{
			"traces":   map[string]any{"processors": []any{"pii", "batch"}},
			"traces/2": map[string]any{"processors": []string{"batch", "k8s_attributes/own"}},
			"broken":   "text",
		}},
	}
	assert.Equal(t, map[string]any{"c": "x"}, Branch(tree, "a", "b"))
	assert.Nil(t, Branch(tree, "a", "b", "c", "d"))
	assert.Nil(t, Branch(nil, "a"))
	assert.Equal(t, []string{"batch", "k8s_attributes/own", "pii"}, Used(tree, "processors"))
	assert.Equal(t, "k8s_attributes", TypeOf("k8s_attributes/own"))
	assert.Empty(t, Text(3))
	assert.Equal(t, []string{"1", "x"}, List([]any{1, "x"}))
	assert.Nil(t, List("x"))
	assert.Len(t, Trees([]any{map[string]any{}, 3}), 1)
	assert.Len(t, Trees([]map[string]any{{}, {}}), 2)
}
