package traceqltest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

func TestRecordedMetrics(t *testing.T) {
	for _, partRows := range []int{0, 7} {
		view, cases := loadRecorded(t, partRows)
		ran := 0
		for _, c := range cases {
			if !strings.HasPrefix(c.Path, "/api/metrics/query") {
				continue
			}
			p := c.params(t)
			status, body := c.expected()
			if p.Get("q") == "" {
				p.Set("q", p.Get("query"))
			}
			q, err := traceql.Compile(p.Get("q"))
			if nanos(p.Get("start")) < 1e12 || nanos(p.Get("end")) < 1e12 {
				continue
			}
			if status == 400 {
				if text := string(body); strings.Contains(text, "parse error") || strings.Contains(text, "compiling query") {
					ran++
					if err == nil {
						t.Errorf("%s %s: no error, want one", c.ID, c.Q)
					}
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %s: %v", c.ID, c.Q, err)
				continue
			}
			if c.Compare == "status" || c.Compare == "count" {
				continue
			}
			step, _ := time.ParseDuration(p.Get("step"))
			if step == 0 {
				if f, err := strconv.ParseFloat(p.Get("step"), 64); err == nil {
					step = time.Duration(f * 1e9)
				}
			}
			maxSeries, _ := strconv.Atoi(p.Get("maxSeries"))
			exemplars, _ := strconv.Atoi(p.Get("exemplars"))
			ran++
			res, err := exec.Metrics(t.Context(), view, q, exec.MetricsOptions{
				Start: nanos(p.Get("start")), End: nanos(p.Get("end")), Step: step,
				Instant: strings.HasPrefix(c.Path, "/api/metrics/query?"), MaxSeries: maxSeries, Exemplars: exemplars,
			})
			if err != nil {
				t.Errorf("%s %s: %v", c.ID, c.Q, err)
				continue
			}
			got, want := seriesLines(res, &c), recordedSeries(t, body, &c)
			if why, ok := knownDeviations[c.ID]; ok {
				t.Logf("%s %s: differs from the recording: %s", c.ID, c.Q, why)
				continue
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s %v %s (parts of %d)\ngot:\n%s\nwant:\n%s", c.ID, c.Contract, c.Q, partRows, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			checkExemplars(t, res, &c)
		}
		t.Logf("parts of %d rows: %d cases", partRows, ran)
	}
}

// checkExemplars checks what ask of every exemplar.
func checkExemplars(t *testing.T, res *exec.MetricsResult, c *recordedCase) {
	t.Helper()
	seen := map[string]bool{}
	for _, s := range res.Series {
		for _, e := range s.Exemplars {
			if len(e.Labels) == 0 || e.Labels[0].Key != "trace:id" || e.Value == 0 || math.IsNaN(e.Value) || e.Millis <= 0 {
				t.Errorf("%s: exemplar %+v", c.ID, e)
				continue
			}
			if id := e.Labels[0].Value.S; seen[id] {
				t.Errorf("%s: two exemplars of trace %s", c.ID, id)
			} else {
				seen[id] = true
			}
		}
	}
}

func number(f float64) string {
	if f == 0 {
		return "0"
	}
	return strconv.FormatFloat(f, 'g', 9, 64)
}

func seriesLines(res *exec.MetricsResult, c *recordedCase) []string {
	var out []string
	for _, s := range res.Series {
		labels := attrLineAll(s.Labels)
		if c.Attrs != nil && !slices.ContainsFunc(s.Labels, func(a exec.Attr) bool { return slices.Contains(c.Attrs, a.Key) }) {
			continue
		}
		line := labels
		n := 0
		var lineSb117 strings.Builder
		for _, p := range s.Samples {
			if c.DropZero && p.Value == 0 {
				continue
			}
			n++
			if strings.HasPrefix(c.Path, "/api/metrics/query?") {
				lineSb117.WriteString(" " + number(p.Value))
			} else {
				fmt.Fprintf(&lineSb117, " %d:%s", p.Millis-t0/1e6, number(p.Value))
			}
		}
		line += lineSb117.String()
		if n > 0 {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

func attrLineAll(attrs []exec.Attr) string {
	var out []string
	for _, a := range attrs {
		v := valueText(a.Value)
		if a.Value.Type == ast.TypeFloat {
			v = number(a.Value.F)
		}
		if nameless(strings.TrimLeft(strings.TrimPrefix(a.Key, "resource"), "."), v) {
			v = `""`
		}
		out = append(out, a.Key+"="+v)
	}
	slices.Sort(out)
	return "{" + strings.Join(out, " ") + "}"
}

func recordedSeries(t *testing.T, body json.RawMessage, c *recordedCase) []string {
	t.Helper()
	var b struct {
		Series []struct {
			Labels  []jsonAttr
			Value   any
			Samples []struct {
				TimestampMs string
				Value       any
			}
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%s: %v", c.ID, err)
	}
	num := func(v any) float64 {
		f, _ := v.(float64)
		return f
	}
	var out []string
	for _, s := range b.Series {
		var labels []string
		found := c.Attrs == nil
		for _, l := range s.Labels {
			v := l.Value.text()
			if l.Value.DoubleValue != nil {
				v = number(*l.Value.DoubleValue)
			}
			if nameless(strings.TrimLeft(strings.TrimPrefix(l.Key, "resource"), "."), v) {
				v = `""`
			}
			labels = append(labels, l.Key+"="+v)
			found = found || slices.Contains(c.Attrs, l.Key)
		}
		if !found {
			continue
		}
		slices.Sort(labels)
		line := "{" + strings.Join(labels, " ") + "}"
		if s.Samples == nil {
			out = append(out, line+" "+number(num(s.Value)))
			continue
		}
		n := 0
		var lineSb196 strings.Builder
		for _, p := range s.Samples {
			if c.DropZero && num(p.Value) == 0 {
				continue
			}
			n++
			ms, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(p.TimestampMs, "T0"), "ms"), 10, 64)
			fmt.Fprintf(&lineSb196, " %d:%s", ms, number(num(p.Value)))
		}
		line += lineSb196.String()
		if n > 0 {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}
