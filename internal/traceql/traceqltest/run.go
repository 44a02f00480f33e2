package traceqltest

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

//go:embed scripts/*.txt
var scriptFiles embed.FS

// Scripts parses the corpus.
func Scripts() ([]*Script, error) {
	files, err := fs.Glob(scriptFiles, "scripts/*.txt")
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	var out []*Script
	for _, f := range files {
		b, err := scriptFiles.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read script: %w", err)
		}
		s, err := ParseScript(f, string(b))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// TB is the part of testing.TB that running needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// RunScripts runs the whole corpus. For each script open gets the spans and returns a view of a store that holds them,
// in whatever way is to be tested; name appears in failures. The view is released.
func RunScripts(tb TB, name string, open func(b *store.Batch) store.View) {
	tb.Helper()
	scripts, err := Scripts()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	for _, s := range scripts {
		view := open(s.Batch)
		for i := range s.Cases {
			c := &s.Cases[i]
			got := c.Eval(tb.Context(), view)
			if !slices.Equal(got, c.Want) {
				tb.Errorf("%s:%d on %s (%s): %s %s\ngot:\n%s\nwant:\n%s", s.Name, c.Line, name, c.IDs, c.Verb, c.Query,
					strings.Join(got, "\n"), strings.Join(c.Want, "\n"))
			}
		}
		view.Release()
	}
}

// Engine answers queries; what is to be tested need not be one view.
type Engine interface {
	Search(ctx context.Context, query string, o exec.SearchOptions) (*exec.SearchResult, error)
	Metrics(ctx context.Context, query string, o exec.MetricsOptions) (*exec.MetricsResult, error)
	TagNames(ctx context.Context, scope, filter string) (*exec.TagNamesResult, error)
	TagValues(ctx context.Context, attr, filter string) (*exec.TagValuesResult, error)
}

// RunScriptsOn is RunScripts on engines.
func RunScriptsOn(tb TB, name string, open func(b *store.Batch) Engine) {
	tb.Helper()
	scripts, err := Scripts()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	for _, s := range scripts {
		e := open(s.Batch)
		for i := range s.Cases {
			c := &s.Cases[i]
			if got := c.EvalOn(tb.Context(), e); !slices.Equal(got, c.Want) {
				tb.Errorf("%s:%d on %s (%s): %s %s\ngot:\n%s\nwant:\n%s", s.Name, c.Line, name, c.IDs, c.Verb, c.Query,
					strings.Join(got, "\n"), strings.Join(c.Want, "\n"))
			}
		}
	}
}

// Eval evaluates the case over a view and prints the answer as scripts do.
func (c *Case) Eval(ctx context.Context, view store.View) []string {
	return c.EvalOn(ctx, viewEngine{view})
}

// viewEngine is package exec over a view.
type viewEngine struct{ view store.View }

func (e viewEngine) Search(ctx context.Context, query string, o exec.SearchOptions) (*exec.SearchResult, error) {
	q, err := traceql.Compile(query)
	if err != nil {
		return nil, err
	}
	return exec.Search(ctx, e.view, q, o)
}

func (e viewEngine) Metrics(ctx context.Context, query string, o exec.MetricsOptions) (*exec.MetricsResult, error) {
	q, err := traceql.Compile(query)
	if err != nil {
		return nil, err
	}
	return exec.Metrics(ctx, e.view, q, o)
}

func (e viewEngine) TagNames(ctx context.Context, scope, filter string) (*exec.TagNamesResult, error) {
	f, err := traceql.ParseFilter(filter)
	if err != nil {
		return nil, err
	}
	return exec.TagNames(ctx, e.view, scope, exec.TagOptions{Filter: f})
}

func (e viewEngine) TagValues(ctx context.Context, attr, filter string) (*exec.TagValuesResult, error) {
	f, err := traceql.ParseFilter(filter)
	if err != nil {
		return nil, err
	}
	a, err := traceql.ParseAttribute(attr)
	if err != nil {
		return nil, err
	}
	return exec.TagValues(ctx, e.view, a, exec.TagOptions{Filter: f})
}

// EvalOn evaluates the case and prints the answer as scripts do.
func (c *Case) EvalOn(ctx context.Context, e Engine) []string {
	lines, err := c.eval(ctx, e)
	switch {
	case err != nil:
		return []string{"error: " + err.Error()}
	case len(lines) == 0:
		return []string{"none"}
	}
	return lines
}

func (c *Case) eval(ctx context.Context, e Engine) ([]string, error) {
	if c.Verb == "names" || c.Verb == "values" {
		return c.evalTags(ctx, e)
	}
	if c.Verb == "search" || c.Verb == "show" {
		res, err := e.Search(ctx, c.Query, exec.SearchOptions{Limit: 1000, SpansPerSpanSet: 1000})
		if err != nil {
			return nil, err
		}
		return searchLines(res, c.Verb == "show"), nil
	}
	o := exec.MetricsOptions{Instant: c.Verb == "instant", Exemplars: -1}
	var (
		times [3]time.Duration
		err   error
	)
	for i, a := range c.Args {
		if times[i], err = time.ParseDuration(a); err != nil {
			return nil, fmt.Errorf("case: %w", err)
		}
	}
	o.Start, o.End, o.Step = Epoch+int64(times[0]), Epoch+int64(times[1]), times[2]
	res, err := e.Metrics(ctx, c.Query, o)
	if err != nil {
		return nil, err
	}
	return metricsLines(res, &o)
}

func (c *Case) evalTags(ctx context.Context, e Engine) ([]string, error) {
	var out []string
	if c.Verb == "names" {
		res, err := e.TagNames(ctx, c.Args[0], c.Query)
		if err != nil {
			return nil, err
		}
		for _, s := range res.Scopes {
			out = append(out, s.Scope+": "+strings.Join(s.Names, " "))
		}
		return out, nil
	}
	res, err := e.TagValues(ctx, c.Args[0], c.Query)
	if err != nil {
		return nil, err
	}
	for _, v := range res.Values {
		out = append(out, v.Type+" "+strconv.Quote(v.Value))
	}
	return out, nil
}

// searchLines prints spansets: trace id, spans in the order of their ids, attributes of the spanset.
func searchLines(res *exec.SearchResult, show bool) []string {
	var out []string
	for _, t := range res.Traces {
		id := strings.TrimLeft(t.ID.String(), "0")
		if show {
			out = append(out, fmt.Sprintf("%s %q %q %s", id, t.RootService, t.RootName, time.Duration(t.DurationNano))) //nolint:gosec // Printed only.
		}
		var sets []string
		for _, s := range t.Spansets {
			var spans []string
			for _, p := range s.Spans {
				line := strings.TrimLeft(p.ID.String(), "0")
				if show {
					if p.Name != "" {
						line += fmt.Sprintf(" %q", p.Name)
					}
					line += suffix(attrText(p.Attrs))
				}
				spans = append(spans, line)
			}
			slices.Sort(spans)
			if show {
				sets = append(sets, "  "+strings.Join(spans, "\n  "))
				continue
			}
			sets = append(sets, id+": "+strings.Join(spans, " ")+suffix(attrText(s.Attrs)))
		}
		slices.Sort(sets)
		out = append(out, strings.Split(strings.Join(sets, "\n"), "\n")...)
	}
	return out
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return " [" + s + "]"
}

func attrText(attrs []exec.Attr) string {
	var out []string
	for _, a := range attrs {
		out = append(out, a.Key+"="+shown(a.Value))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// shown prints a value; words, and durations as answers give them, stand without quotes.
func shown(v ast.Static) string {
	if v.Type == ast.TypeFloat {
		return formatNumber(v.F)
	}
	return v.String()
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// metricsLines prints series: labels and a value per bucket.
func metricsLines(res *exec.MetricsResult, o *exec.MetricsOptions) ([]string, error) {
	t, err := exec.NewTimeline(o.Start, o.End, o.Step, o.Instant)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range res.Series {
		line := "{" + attrText(s.Labels) + "}"
		values := slices.Repeat([]float64{math.NaN()}, t.N)
		for _, p := range s.Samples {
			k := int64(0)
			if !o.Instant {
				k = (p.Millis*1e6-t.Start+t.Step-1)/t.Step - 1
			}
			values[k] = p.Value
		}
		var lineSb219 strings.Builder
		for _, v := range values {
			if math.IsNaN(v) {
				lineSb219.WriteString(" _")
				continue
			}
			lineSb219.WriteString(" " + formatNumber(v))
		}
		line += lineSb219.String()
		out = append(out, line)
	}
	return out, nil
}
