package tempoapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tempopb"
)

const inRange = "start=1700000000&end=1700000060"

// oddKeys are attribute keys that have to survive a path (V-04).
var oddKeys = []string{"path/with/slash", "with space", `quo"ted`, "per%cent", "🥐", "naïve", "a/values", "x*2", "comma,key", "plus+sign", "?#&="}

// tagShop is shopTraces with odd keys.
func tagShop() *store.Batch {
	b := shopTraces()
	for _, k := range oddKeys {
		b.Spans[4].Attrs = append(b.Spans[4].Attrs, store.Attr{Key: k, Value: store.String("value of " + k)})
	}
	return b
}

func TestTags(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), tagShop())
	tests := []struct {
		name, path string
		code       int
		want       string // the whole body up to the metrics, or a part of it
	}{
		{"v2 of a scope", "/api/v2/search/tags?scope=resource&" + inRange, 200, `{"scopes":[{"name":"resource","tags":["cluster","service.name"]}],"metrics":{`},       // G-02
		{"v2 limit", "/api/v2/search/tags?scope=resource&limit=1&" + inRange, 200, `{"scopes":[{"name":"resource","tags":["cluster"]}],"metrics":{`},                   // G-05
		{"v2 filtered", "/api/v2/search/tags?scope=resource&q=" + url.QueryEscape(`{ name = "charge" }`) + "&" + inRange, 200, `"tags":["service.name"]`},              // G-05
		{"v2 unfinished", "/api/v2/search/tags?scope=resource&q=" + url.QueryEscape(`{ name = "charge" && span.x = `) + "&" + inRange, 200, `"tags":["service.name"]`}, // G-20
		{"v2 nonsense", "/api/v2/search/tags?scope=resource&q=nonsense&" + inRange, 200, `"tags":["cluster","service.name"]`},                                          // G-20b
		{"v2 nothing", "/api/v2/search/tags?scope=link&" + inRange, 200, `{"scopes":[],"metrics":{`},
		{"v2 intrinsics", "/api/v2/search/tags?scope=intrinsic&" + inRange, 200, `"trace:rootName"`},                    // G-04
		{"v2 all", "/api/v2/search/tags?scope=none&" + inRange, 200, `{"name":"intrinsic","tags":[`},                    // G-03
		{"v2 bad scope", "/api/v2/search/tags?scope=planet", 400, "invalid scope: planet\n"},                            // G-03
		{"v1", "/api/search/tags?scope=resource&" + inRange, 200, `{"tagNames":["cluster","service.name"],"metrics":{`}, // G-01
		{"v1 intrinsics", "/api/search/tags?scope=intrinsic&" + inRange, 200, `"duration"`},
		{"outside of the window", "/api/v2/search/tags?scope=resource&start=1600000000&end=1600000060", 200, `{"scopes":[],`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, a, tt.path)
			text := body(t, r)
			require.Equal(t, tt.code, r.StatusCode, text)
			require.Contains(t, text, tt.want)
			if tt.code != 200 {
				return
			}
			if strings.HasPrefix(tt.path, "/api/v2/") {
				decodeStrict(t, text, &tempopb.SearchTagsV2Response{})
			} else {
				decodeStrict(t, text, &tempopb.SearchTagsResponse{})
			}
		})
	}
	require.NotContains(t, body(t, get(t, a, "/api/search/tags?"+inRange)), `"duration"`, "intrinsics only when asked for (G-01)")
}

func TestTagValues(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), tagShop())
	v2 := func(name string) string { return "/api/v2/search/tag/" + name + "/values?" + inRange }
	tests := []struct {
		name, path string
		code       int
		want       string
	}{
		{"strings", v2("resource.service.name"), 200, `{"tagValues":[{"type":"string","value":"bank"},{"type":"string","value":"shop"}],"metrics":{`}, // V-02
		{"ints", v2("span.amount"), 200, `{"type":"int","value":"1152921504606846976"}`},                                                              // V-05
		{"none", v2("span.never"), 200, `{"tagValues":[],"metrics":{`},                                                                                // V-02
		{"keywords", v2("status"), 200, `{"type":"keyword","value":"error"}`},                                                                         // V-06
		{"all different", v2("trace:id"), 200, `{"tagValues":[],`},                                                                                    // V-06
		{"intrinsic", v2("name"), 200, `{"type":"string","value":"POST /checkout"}`},                                                                  // V-07
		{"filtered", v2("resource.service.name") + "&q=" + url.QueryEscape(`{ name = "charge" }`), 200, `[{"type":"string","value":"bank"}]`},         // V-08
		{"pinned", v2("name") + "&q=" + url.QueryEscape(`{ name = "elsewhere" }`), 200, `[{"type":"string","value":"elsewhere"}]`},                    // V-08
		{"limit", v2("name") + "&limit=1", 200, `"metrics"`},
		{"extra parameter of Grafana", v2("name") + "&tag=name", 200, "charge"},
		{"bare word", v2("bareword"), 400, "please provide a valid tagName: failed to parse identifier bareword: parse error at line 1"}, // V-03
		{"scope alone", v2("span."), 400, "please provide a valid tagName"},
		{"v1", "/api/search/tag/service.name/values?" + inRange, 200, `{"tagValues":["bank","shop"],"metrics":{`}, // V-01
		{"v1 status", "/api/search/tag/status.code/values?" + inRange, 200, `{"tagValues":["error","ok","unset"],`},
		{"v1 error", "/api/search/tag/error/values?" + inRange, 200, `{"tagValues":["true"],`},
		{"v1 name", "/api/search/tag/root.name/values?" + inRange, 200, `"POST /checkout"`},
		{"v1 only end", "/api/search/tag/x/values?end=5", 400, "error parsing date range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, a, tt.path)
			text := body(t, r)
			require.Equal(t, tt.code, r.StatusCode, text)
			require.Contains(t, text, tt.want)
			if tt.code == 200 && strings.HasPrefix(tt.path, "/api/v2/") {
				decodeStrict(t, text, &tempopb.SearchTagValuesV2Response{})
			}
		})
	}
	r := get(t, a, v2("resource.service.name"), "Accept", "application/vnd.grafana.llm") // C-08
	require.Equal(t, typeLLM, r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"string":["bank","shop"]}`, body(t, r))
}

// TestOddTagNames: any key can be asked for, quoted and escaped whole, and, where a path allows it, as it is (V-04).
func TestOddTagNames(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), tagShop())
	for _, k := range oddKeys {
		quoted := `span."` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(k) + `"`
		text := body(t, get(t, a, "/api/v2/search/tag/"+url.PathEscape(quoted)+"/values?"+inRange))
		want := `{"type":"string","value":` + string(appendJSONString(nil, "value of "+k)) + `}`
		require.Contains(t, text, want, k)
		text = body(t, get(t, a, "/api/search/tag/"+url.PathEscape(k)+"/values?"+inRange))
		require.Contains(t, text, string(appendJSONString(nil, "value of "+k)), k)
	}
	require.Contains(t, body(t, get(t, a, "/api/v2/search/tag/span.path/with/slash/values?"+inRange)), "value of path/with/slash")
	require.Contains(t, body(t, get(t, a, "/api/v2/search/tag/span.🥐/values?"+inRange)), "value of 🥐")
}

// TestTagBytes: lists are cut at a number of bytes, without an error (G-06).
func TestTagBytes(t *testing.T) {
	l := query.DefaultLimits()
	l.MaxTagBytes = 10
	a := newAPI(t, l, tagShop())
	require.Contains(t, body(t, get(t, a, "/api/v2/search/tags?scope=resource&"+inRange)), `"tags":["cluster"]`)
	var m tempopb.SearchTagValuesV2Response
	decodeStrict(t, body(t, get(t, a, "/api/v2/search/tag/resource.service.name/values?"+inRange)), &m)
	require.Len(t, m.GetTagValues(), 2)
	decodeStrict(t, body(t, get(t, a, "/api/v2/search/tag/name/values?"+inRange)), &m)
	require.Less(t, len(m.GetTagValues()), 3)
}

func TestStreamTags(t *testing.T) {
	a := newAPI(t, query.DefaultLimits(), tagShop())
	c := stream(t, a)
	s2, err := c.SearchTagsV2(t.Context(), &tempopb.SearchTagsRequest{Start: at, End: at + 60})
	tags2, err := receive(t, s2, err)
	require.NoError(t, err)
	require.Len(t, tags2, 1)
	var http tempopb.SearchTagsV2Response
	decodeStrict(t, body(t, get(t, a, "/api/v2/search/tags?"+inRange)), &http)
	require.True(t, proto.Equal(&http, tags2[0]), "the same as over HTTP")

	s1, err := c.SearchTags(t.Context(), &tempopb.SearchTagsRequest{Scope: "resource", Start: at, End: at + 60})
	tags1, err := receive(t, s1, err)
	require.NoError(t, err)
	require.Equal(t, []string{"cluster", "service.name"}, tags1[0].GetTagNames())

	v1, err := c.SearchTagValues(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "service.name", Start: at, End: at + 60})
	values1, err := receive(t, v1, err)
	require.NoError(t, err)
	require.Equal(t, []string{"bank", "shop"}, values1[0].GetTagValues())

	v2, err := c.SearchTagValuesV2(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "span.amount", Start: at, End: at + 60})
	values2, err := receive(t, v2, err)
	require.NoError(t, err)
	require.Equal(t, "int", values2[0].GetTagValues()[0].GetType())
	require.EqualValues(t, 1, values2[0].GetMetrics().GetTotalJobs())

	v2, err = c.SearchTagValuesV2(t.Context(), &tempopb.SearchTagValuesRequest{TagName: "bareword"})
	_, err = receive(t, v2, err)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "please provide a valid tagName")
	s2, err = c.SearchTagsV2(t.Context(), &tempopb.SearchTagsRequest{Scope: "planet"})
	_, err = receive(t, s2, err)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}
