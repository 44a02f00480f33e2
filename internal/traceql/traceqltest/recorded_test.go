package traceqltest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/ast"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
	"github.com/bramble-tracing/bramble/internal/traceql/plan"
)

// recordedDir holds answers recorded from a real Tempo. It lies beside the project, not in it.
const recordedDir = "../../../../shared/tempo-recorded"

// t0 stands for the whole minute that the times of the recording count from.
const t0 = int64(1_700_000_040_000_000_000)

// knownDeviations are recorded answers that contradict the contract and are not marked as quirks. We follow the
// contract.
var knownDeviations = map[string]string{
	"a-search-056":  "1s < duration is duration > 1s; Tempo finds nothing (E-14)",
	"a-metrics-057": "Tempo counts attributes that the filter mentions twice (X-50)",
	"a-values-069":  "Tempo loses the method of three matching spans (V-08)",
	"a-metrics-094": "Tempo counts attributes that the filter mentions twice (X-50)",
}

type recordedCase struct {
	ID, Path, Q, Kind, Compare string
	Contract                   []string
	Status                     int
	Quirk                      bool
	Body, Want                 json.RawMessage
	Attrs                      []string
	AmbiguousRoot              []string `json:"ambiguous_root"`
	Exemplars                  any
	Only                       string
	DropZero                   bool `json:"drop_zero"`
}

// expected returns the status and body that the contract wants.
func (c *recordedCase) expected() (int, json.RawMessage) {
	if !c.Quirk {
		return c.Status, c.Body
	}
	w := struct {
		Status int
		Body   json.RawMessage
	}{Status: c.Status, Body: c.Body}
	if err := json.Unmarshal(c.Want, &w); err != nil {
		return c.Status, c.Body
	}
	return w.Status, w.Body
}

func loadRecorded(t *testing.T, partRows int) (store.View, []recordedCase) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(recordedDir, "fixture.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the recorded answers are not at %s, relative to this package", recordedDir)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := oracle.New(partRows)
	for _, batch := range decodePushes(t, b) {
		if err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(recordedDir, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []recordedCase
	for sc := bufio.NewReader(f); ; {
		line, err := sc.ReadBytes('\n')
		if len(line) > 1 {
			var c recordedCase
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatalf("%v: %.200s", err, line)
			}
			cases = append(cases, c)
		}
		if err != nil {
			return v, cases
		}
	}
}

var placeholder = regexp.MustCompile(`\{T0([+-]\d+)(ns|ms|s)(:\w+)?\}`)

// query returns the parameters of a case, with times in nanoseconds.
func (c *recordedCase) params(t *testing.T) url.Values {
	t.Helper()
	path := placeholder.ReplaceAllStringFunc(c.Path, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		n, _ := strconv.ParseInt(m[1], 10, 64)
		unit := map[string]int64{"ns": 1, "ms": 1e6, "s": 1e9}[m[2]]
		return strconv.FormatInt(t0+n*unit, 10)
	})
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func nanos(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func TestRecordedSearch(t *testing.T) {
	for _, partRows := range []int{0, 7} {
		view, cases := loadRecorded(t, partRows)
		ran := 0
		for _, c := range cases {
			if !strings.HasPrefix(c.Path, "/api/search?") {
				continue
			}
			p := c.params(t)
			if strings.Contains(c.Path, "start=T") || p.Get("start") == "" || nanos(p.Get("start")) < 1e12 || p.Get("spss") == "x" {
				continue
			}
			status, body := c.expected()
			var q *plan.Query
			var err error
			tags := map[string]string{}
			switch {
			case p.Has("q"):
				q, err = traceql.Compile(p.Get("q"))
			case p.Has("tags"):
				var ok bool
				if tags, ok = plainTags(p.Get("tags")); !ok {
					continue
				}
				fallthrough
			default:
				lo, e1 := optionalDuration(p.Get("minDuration"))
				hi, e2 := optionalDuration(p.Get("maxDuration"))
				if e1 != nil || e2 != nil {
					continue
				}
				q, err = traceql.FromTags(tags, lo, hi)
			}
			if status == 400 && !strings.Contains(string(c.Body), "TraceQL") && !c.Quirk {
				continue // A parameter is wrong, not the query.
			}
			ran++
			if (err != nil) != (status == 400) {
				t.Errorf("%s %s: error %v, want status %d", c.ID, c.Q, err, status)
				continue
			}
			if err != nil || c.Compare == "status" || c.Compare == "text" {
				continue
			}
			limit, _ := strconv.Atoi(p.Get("limit"))
			spss, _ := strconv.Atoi(p.Get("spss"))
			res, err := exec.Search(t.Context(), view, q, exec.SearchOptions{
				Limit: limit, SpansPerSpanSet: spss, Start: nanos(p.Get("start")), End: nanos(p.Get("end")),
			})
			if err != nil {
				t.Errorf("%s %s: %v", c.ID, c.Q, err)
				continue
			}
			if why, ok := knownDeviations[c.ID]; ok {
				t.Logf("%s %s: differs from the recording: %s", c.ID, c.Q, why)
				continue
			}
			got := strings.Join(resultLines(res, &c), "\n")
			want := strings.Join(recordedLines(t, body, &c), "\n")
			if got != want {
				t.Errorf("%s %v %s (parts of %d)\ngot:\n%s\nwant:\n%s", c.ID, c.Contract, c.Q, partRows, got, want)
			}
		}
		t.Logf("parts of %d rows: %d cases", partRows, ran)
	}
}

func plainTags(s string) (map[string]string, bool) {
	out := map[string]string{}
	if k, v, ok := strings.Cut(s, "="); ok && strings.HasPrefix(v, `"`) {
		v, err := strconv.Unquote(v)
		out[k] = v
		return out, err == nil
	}
	for f := range strings.FieldsSeq(s) {
		k, v, ok := strings.Cut(f, "=")
		if _, twice := out[k]; !ok || twice {
			return nil, false
		}
		out[k] = v
	}
	return out, true
}

func optionalDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return time.ParseDuration(s)
}

// resultLines prints a result as the lines that recordedLines makes of a recorded one.
func resultLines(res *exec.SearchResult, c *recordedCase) []string {
	if c.Only != "" {
		return []string{strconv.Itoa(len(res.Traces))}
	}
	var out []string
	for _, tr := range res.Traces {
		id := strings.TrimLeft(tr.ID.String(), "0")
		var sets []string
		var ids []string
		for _, s := range tr.Spansets {
			var spans []string
			for _, p := range s.Spans {
				ids = append(ids, p.ID.String())
				spans = append(spans, fmt.Sprintf("    span %s %q %d %d %s", p.ID, p.Name, int64(p.StartNano)-t0, p.DurationNano, attrLine(p.Attrs)))
			}
			slices.Sort(spans)
			if c.Compare == "count" {
				spans = []string{strconv.Itoa(len(spans))}
			}
			sets = append(sets, fmt.Sprintf("  set %d %s\n%s", s.Matched, attrLine(s.Attrs), strings.Join(spans, "\n")))
		}
		slices.Sort(sets)
		if c.Compare == "spans" {
			slices.Sort(ids)
			out = append(out, id+" "+strings.Join(ids, " "))
			continue
		}
		root := tr.RootService + "/" + tr.RootName
		if slices.Contains(c.AmbiguousRoot, tr.ID.String()) || slices.Contains(c.AmbiguousRoot, id) {
			root = "ambiguous"
		}
		var stats []string
		for _, k := range slices.Sorted(maps.Keys(tr.ServiceStats)) {
			stats = append(stats, fmt.Sprintf("%s:%d/%d", k, tr.ServiceStats[k].SpanCount, tr.ServiceStats[k].ErrorCount))
		}
		line := fmt.Sprintf("trace %s %s %d %dms %v", id, root, int64(tr.StartNano)-t0, tr.DurationNano/1e6, stats)
		if c.Compare == "count" {
			line = "trace"
		}
		if c.Compare != "traces" {
			line += "\n" + strings.Join(sets, "\n")
		}
		out = append(out, line)
	}
	if c.Compare == "spans" {
		slices.Sort(out)
	}
	return out
}

func nameless(key, value string) bool {
	return (key == "service.name" || key == "rootServiceName" || key == "rootName" || strings.HasPrefix(key, "instrumentation:")) &&
		(value == `""` || value == `"nil"`)
}

func attrLine(attrs []exec.Attr) string {
	var out []string
	for _, a := range attrs {
		v := valueText(a.Value)
		if !nameless(a.Key, v) {
			out = append(out, a.Key+"="+v)
		}
	}
	slices.Sort(out)
	return "[" + strings.Join(out, " ") + "]"
}

func valueText(s ast.Static) string {
	switch s.Type {
	case ast.TypeInt:
		return strconv.FormatInt(s.N, 10)
	case ast.TypeFloat:
		return "f" + strconv.FormatFloat(s.F, 'g', -1, 64)
	case ast.TypeBool:
		return strconv.FormatBool(s.True())
	case ast.TypeArray:
		var e []string
		for _, x := range s.Elems {
			e = append(e, valueText(x))
		}
		return "[" + strings.Join(e, ",") + "]"
	}
	return strconv.Quote(s.Text())
}

type jsonAttr struct {
	Key   string
	Value jsonValue
}

type jsonValue struct {
	StringValue *string
	IntValue    *json.Number
	BoolValue   *bool
	DoubleValue *float64
	ArrayValue  *struct{ Values []jsonValue }
}

func (v jsonValue) text() string {
	switch {
	case v.IntValue != nil:
		return string(*v.IntValue)
	case v.DoubleValue != nil:
		return "f" + strconv.FormatFloat(*v.DoubleValue, 'g', -1, 64)
	case v.BoolValue != nil:
		return strconv.FormatBool(*v.BoolValue)
	case v.ArrayValue != nil:
		var e []string
		for _, x := range v.ArrayValue.Values {
			e = append(e, x.text())
		}
		return "[" + strings.Join(e, ",") + "]"
	case v.StringValue != nil:
		return strconv.Quote(*v.StringValue)
	}
	return `""`
}

func jsonAttrLine(attrs []jsonAttr) string {
	var out []string
	for _, a := range attrs {
		if v := a.Value.text(); !nameless(a.Key, v) {
			out = append(out, a.Key+"="+v)
		}
	}
	slices.Sort(out)
	return "[" + strings.Join(out, " ") + "]"
}

func relNanos(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(s, "T0"), "ns"), 10, 64)
	return n
}

func recordedLines(t *testing.T, body json.RawMessage, c *recordedCase) []string {
	t.Helper()
	var b struct {
		Traces []struct {
			TraceID, RootServiceName, RootTraceName, StartTimeUnixNano string
			DurationMs                                                 int
			ServiceStats                                               map[string]struct{ SpanCount, ErrorCount int }
			SpanSets                                                   []struct {
				Matched    int
				Attributes []jsonAttr
				Spans      []struct {
					SpanID, Name, StartTimeUnixNano, DurationNanos string
					Attributes                                     []jsonAttr
				}
			}
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%s: %v", c.ID, err)
	}
	if c.Only != "" {
		return []string{strconv.Itoa(len(b.Traces))}
	}
	var out []string
	for _, tr := range b.Traces {
		id := strings.TrimLeft(tr.TraceID, "0")
		var sets, ids []string
		for _, s := range tr.SpanSets {
			var spans []string
			for _, p := range s.Spans {
				ids = append(ids, p.SpanID)
				d, _ := strconv.ParseUint(p.DurationNanos, 10, 64)
				spans = append(spans, fmt.Sprintf("    span %s %q %d %d %s", p.SpanID, p.Name, relNanos(p.StartTimeUnixNano), d, jsonAttrLine(p.Attributes)))
			}
			slices.Sort(spans)
			if c.Compare == "count" {
				spans = []string{strconv.Itoa(len(spans))}
			}
			sets = append(sets, fmt.Sprintf("  set %d %s\n%s", s.Matched, jsonAttrLine(s.Attributes), strings.Join(spans, "\n")))
		}
		slices.Sort(sets)
		if c.Compare == "spans" {
			slices.Sort(ids)
			out = append(out, id+" "+strings.Join(ids, " "))
			continue
		}
		root := tr.RootServiceName + "/" + tr.RootTraceName
		if slices.ContainsFunc(c.AmbiguousRoot, func(a string) bool { return strings.TrimLeft(a, "0") == id }) {
			root = "ambiguous"
		}
		var stats []string
		for _, k := range slices.Sorted(maps.Keys(tr.ServiceStats)) {
			name := k
			if k == exec.RootNotReceived || k == "nil" || k == "unknown_service" {
				name = ""
			}
			stats = append(stats, fmt.Sprintf("%s:%d/%d", name, tr.ServiceStats[k].SpanCount, tr.ServiceStats[k].ErrorCount))
		}
		slices.Sort(stats)
		line := fmt.Sprintf("trace %s %s %d %dms %v", id, root, relNanos(tr.StartTimeUnixNano), tr.DurationMs, stats)
		if c.Compare == "count" {
			line = "trace"
		}
		if c.Compare != "traces" {
			line += "\n" + strings.Join(sets, "\n")
		}
		out = append(out, line)
	}
	if c.Compare == "spans" {
		slices.Sort(out)
	}
	return out
}
