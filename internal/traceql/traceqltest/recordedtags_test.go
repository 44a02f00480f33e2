package traceqltest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

func TestRecordedTags(t *testing.T) {
	for _, partRows := range []int{0, 7} {
		view, cases := loadRecorded(t, partRows)
		ran := 0
		for _, c := range cases {
			if c.Kind != "tags" && c.Kind != "values" || !strings.HasPrefix(c.Path, "/api/v2/") || c.Compare != "json" {
				continue
			}
			ran++
			p := c.params(t)
			_, body := c.expected()
			filter, err := traceql.ParseFilter(p.Get("q"))
			if err != nil {
				t.Errorf("%s: %v", c.ID, err)
				continue
			}
			o := exec.TagOptions{Filter: filter, Start: nanos(p.Get("start")), End: nanos(p.Get("end"))}
			var got, want []string
			if c.Kind == "tags" {
				res, err := exec.TagNames(t.Context(), view, p.Get("scope"), o)
				if err != nil {
					t.Errorf("%s: %v", c.ID, err)
					continue
				}
				for _, s := range res.Scopes {
					for _, n := range s.Names {
						got = append(got, s.Scope+" "+n)
					}
				}
				want = recordedNames(t, body)
			} else {
				got, want = valuesOf(t, &c, o, view, body)
			}
			slices.Sort(got)
			slices.Sort(want)
			if _, ok := knownDeviations[c.ID]; !ok && !slices.Equal(got, want) {
				t.Errorf("%s %v %s (parts of %d)\ngot:\n%q\nwant:\n%q", c.ID, c.Contract, c.Path, partRows, got, want)
			}
		}
		t.Logf("parts of %d rows: %d cases", partRows, ran)
	}
}

func recordedNames(t *testing.T, body json.RawMessage) (out []string) {
	t.Helper()
	var b struct {
		Scopes []struct {
			Name string
			Tags []string
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.Scopes {
		for _, n := range s.Tags {
			out = append(out, s.Name+" "+n)
		}
	}
	return out
}

func valuesOf(t *testing.T, c *recordedCase, o exec.TagOptions, view store.View, body json.RawMessage) (got, want []string) {
	t.Helper()
	path, _, _ := strings.Cut(c.Path, "?")
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/api/v2/search/tag/"), "/values")
	if u, err := url.PathUnescape(name); err == nil {
		name = u
	}
	a, err := traceql.ParseAttribute(name)
	if err != nil {
		t.Errorf("%s: %v", c.ID, err)
		return nil, nil
	}
	res, err := exec.TagValues(t.Context(), view, a, o)
	if err != nil {
		t.Errorf("%s: %v", c.ID, err)
		return nil, nil
	}
	nameless := strings.Contains(name, "service.name") || strings.Contains(name, "root")
	for _, v := range res.Values {
		if !nameless || v.Value != "" {
			got = append(got, v.Type+" "+v.Value)
		}
	}
	var b struct {
		TagValues []struct{ Type, Value string }
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	for _, v := range b.TagValues {
		if !nameless || v.Value != "" {
			want = append(want, v.Type+" "+v.Value)
		}
	}
	return got, want
}
