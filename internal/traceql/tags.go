package traceql

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// wellKnown are the attributes that the `tags=` form of search matches by substring (S-02).
var wellKnown = []string{
	"service.name", "http.method", "http.url", "cluster", "namespace", "pod", "container", "k8s.cluster.name",
	"k8s.namespace.name", "k8s.pod.name", "k8s.container.name",
}

// FromTags makes a plan of the `tags=` form of search: every tag must match a span of the trace or its resource, by
// substring for well-known names and exactly for others (S-02). minDuration and maxDuration bound the duration of the
// trace, in whole milliseconds; 0 means no bound (S-04). The results of such searches are rows without spansets. An
// empty map finds every trace.
func FromTags(tags map[string]string, minDuration, maxDuration time.Duration) (*plan.Query, error) {
	if minDuration < 0 || maxDuration < 0 {
		return nil, fmt.Errorf("search by tags: durations must not be negative: min %s, max %s", minDuration, maxDuration)
	}
	if maxDuration > 0 && maxDuration < minDuration {
		return nil, fmt.Errorf("search by tags: the maximum duration %s is below the minimum %s", maxDuration, minDuration)
	}
	keys := make([]string, 0, len(tags))
	for k := range tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var all ast.Spanset
	for _, k := range keys {
		f := &ast.Filter{X: tagCondition(k, tags[k])}
		if all == nil {
			all = f
			continue
		}
		all = &ast.SpansetOp{Op: ast.OpAnd, L: all, R: f}
	}
	if all == nil {
		all = &ast.Filter{}
	}
	p := &ast.Pipeline{Stages: []ast.Stage{all}}
	duration := ast.IntrinsicAttr(ast.TraceDuration)
	if ms := minDuration.Truncate(time.Millisecond); ms > 0 {
		p.Stages = append(p.Stages, &ast.Filter{X: binary(ast.OpGe, duration, ast.Duration(int64(ms)))})
	}
	if maxDuration > 0 {
		ms := maxDuration.Truncate(time.Millisecond) + time.Millisecond
		p.Stages = append(p.Stages, &ast.Filter{X: binary(ast.OpLt, duration, ast.Duration(int64(ms)))})
	}
	q, err := plan.New(&ast.Query{Pipeline: p})
	if err != nil {
		return nil, fmt.Errorf("search by tags: %w", err)
	}
	q.RowsOnly = true
	return q, nil
}

// tagCondition returns what one tag asks of a span.
func tagCondition(key, value string) ast.Expr {
	status := ast.IntrinsicAttr(ast.StatusCode)
	switch key {
	case "name":
		return substring(ast.IntrinsicAttr(ast.Name), value)
	case "root.name":
		return substring(ast.IntrinsicAttr(ast.RootName), value)
	case "root.service.name":
		return substring(ast.IntrinsicAttr(ast.RootService), value)
	case "status.code":
		if code, ok := ast.Keyword(value); ok && code.Type == ast.TypeStatus {
			return binary(ast.OpEq, status, code)
		}
		return &ast.Literal{Value: ast.Bool(false)}
	case "error":
		if value == "true" {
			return or(binary(ast.OpEq, status, ast.Status(2)), anyScope(key, exact(value)))
		}
	case "http.status_code":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return or(binary(ast.OpEq, ast.Attr{Scope: ast.ScopeSpan, Name: key}, ast.Int(n)), anyScope(key, exact(value)))
		}
	}
	if slices.Contains(wellKnown, key) {
		return anyScope(key, func(a ast.Attr) ast.Expr { return substring(a, value) })
	}
	return anyScope(key, exact(value))
}

func exact(value string) func(ast.Attr) ast.Expr {
	return func(a ast.Attr) ast.Expr { return binary(ast.OpEq, a, ast.String(value)) }
}

// anyScope asks for a match on the span or on its resource.
func anyScope(key string, f func(ast.Attr) ast.Expr) ast.Expr {
	return or(f(ast.Attr{Scope: ast.ScopeSpan, Name: key}), f(ast.Attr{Scope: ast.ScopeResource, Name: key}))
}

func or(l, r ast.Expr) ast.Expr { return &ast.Binary{Op: ast.OpOr, L: l, R: r} }

func binary(op ast.Op, a ast.Attr, v ast.Static) ast.Expr {
	return &ast.Binary{Op: op, L: a, R: &ast.Literal{Value: v}}
}

func substring(a ast.Attr, value string) ast.Expr {
	return binary(ast.OpRegex, a, ast.String(".*"+regexp.QuoteMeta(value)+".*"))
}
