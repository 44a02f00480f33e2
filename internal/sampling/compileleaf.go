package sampling

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
)

// leaf returns what decides a policy by itself. negate says that the policy samples what the leaf does not mark.
func (c *compiler) leaf(p *Policy) (l leaf, negate bool, err error) {
	switch p.Type {
	case AlwaysSample:
		return alwaysLeaf{}, false, nil
	case Latency:
		c.out.needStart, c.out.needEnd = true, true
		return &latencyLeaf{p.Latency.ThresholdMs, p.Latency.UpperThresholdMs}, false, nil
	case Probabilistic:
		s := p.Probabilistic.SamplingPercentage
		if math.IsNaN(s) || s < 0 || s > 100 {
			return nil, false, fmt.Errorf("probabilistic::sampling_percentage: must be from 0 to 100, is %v", s)
		}
		return &shareLeaf{salted: saltHash(p.Probabilistic.HashSalt), most: threshold(s)}, false, nil
	case SpanCount:
		return &countLeaf{int64(p.SpanCount.MinSpans), int64(p.SpanCount.MaxSpans)}, false, nil
	case StatusCode:
		l, err = statusLeaf(p.StatusCode.StatusCodes)
		return l, false, err
	case StringAttribute:
		l, err = stringLeaf(&p.StringAttribute)
		return l, p.StringAttribute.InvertMatch, err
	case BooleanAttribute:
		want := p.BooleanAttribute.Value
		match := func(v store.Value) bool { return (v.Type == store.TypeBool && v.Bool()) == want }
		return &attrLeaf{key: p.BooleanAttribute.Key, matcher: &valueMatcher{resource: match, span: match}}, p.BooleanAttribute.InvertMatch, nil
	case NumericAttribute:
		l, err = numericLeaf(&p.NumericAttribute)
		return l, p.NumericAttribute.InvertMatch, err
	case TraceState:
		return newTraceStateLeaf(p.TraceState.Key, p.TraceState.Values), false, nil
	case TraceFlags:
		return flagsLeaf{}, false, nil
	case TraceQL:
		l, err = queryLeaf(p.TraceQL.Query)
		return l, false, err
	case MinPerService:
		return c.perService(&p.MinPerService)
	}
	return nil, false, fmt.Errorf("unknown type %q: %w; policies of extensions need spans as they pass by", p.Type, ErrUnsupported)
}

func statusLeaf(codes []string) (leaf, error) {
	if len(codes) == 0 {
		return nil, errors.New("status_code::status_codes: at least one of OK, ERROR and UNSET is needed")
	}
	pred := &store.Predicate{Column: store.Intrinsic(store.SpanStatus), Op: store.OpIn}
	for _, code := range codes {
		n, ok := map[string]int64{"OK": store.StatusOK, "ERROR": store.StatusError, "UNSET": store.StatusUnset}[code]
		if !ok {
			return nil, fmt.Errorf("status_code::status_codes: %q is none of OK, ERROR and UNSET", code)
		}
		pred.Values = append(pred.Values, store.Int(n))
	}
	return &filterLeaf{pred}, nil
}

func numericLeaf(cfg *NumericAttributeConfig) (leaf, error) {
	if cfg.MinValue == 0 && cfg.MaxValue == 0 {
		return nil, errors.New("numeric_attribute: min_value or max_value must be given, and not be 0")
	}
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if cfg.MinValue != 0 {
		low = cfg.MinValue
	}
	if cfg.MaxValue != 0 {
		high = cfg.MaxValue
	}
	match := func(v store.Value) bool {
		n := int64(0)
		if v.Type == store.TypeInt {
			n = v.Int()
		}
		return low <= n && n <= high
	}
	return &attrLeaf{key: cfg.Key, matcher: &valueMatcher{resource: match, span: match}}, nil
}

// stringLeaf matches texts; another type counts as the empty text, which only a resource can match with.
func stringLeaf(cfg *StringAttributeConfig) (leaf, error) {
	l := &attrLeaf{key: cfg.Key, matcher: &valueMatcher{}}
	match := func(s string) bool { return s != "" && slices.Contains(cfg.Values, s) }
	if cfg.EnabledRegexMatching {
		var list []*regexp.Regexp
		for i, v := range cfg.Values {
			re, err := regexp.Compile(v)
			if err != nil {
				return nil, fmt.Errorf("string_attribute::values::%d: %w", i, err)
			}
			list = append(list, re)
		}
		match = func(s string) bool {
			return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(s) })
		}
		l.remember = cfg.CacheMaxSize
		if l.remember <= 0 {
			l.remember = 128
		}
	} else if len(cfg.Values) > 4 {
		set := make(map[string]bool, len(cfg.Values))
		for _, v := range cfg.Values {
			set[v] = v != ""
		}
		match = func(s string) bool { return set[s] }
	}
	text := func(v store.Value) string {
		if v.Type == store.TypeString {
			return v.Str
		}
		return ""
	}
	l.matcher.resource = func(v store.Value) bool { return match(text(v)) }
	l.matcher.span = func(v store.Value) bool { s := text(v); return s != "" && match(s) }
	return l, nil
}

func queryLeaf(text string) (leaf, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("traceql::query is missing")
	}
	q, err := traceql.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("traceql::query: %w", err)
	}
	if len(q.Metrics) > 0 {
		return nil, errors.New("traceql::query: a metrics query does not select traces; use a spanset query such as { status = error }")
	}
	for _, a := range q.Search.Columns {
		if a.Intrinsic == ast.TraceDecision || a.Intrinsic == ast.TracePolicy {
			return nil, fmt.Errorf("traceql::query: %s is known only once the trace has been decided", a)
		}
	}
	return &traceqlLeaf{q}, nil
}

func (c *compiler) perService(cfg *MinPerServiceConfig) (leaf, bool, error) {
	if cfg.Traces < 1 {
		return nil, false, errors.New("min_per_service::traces must be 1 or more")
	}
	p := &perService{traces: cfg.Traces, window: cfg.Window, index: c.out.perService}
	if p.window == 0 {
		p.window = time.Hour
	}
	if p.window < time.Second {
		return nil, false, fmt.Errorf("min_per_service::window: %s is shorter than 1s", p.window)
	}
	c.out.needStart, c.out.needEnd = true, true
	c.out.perService++
	return p, false, nil
}
