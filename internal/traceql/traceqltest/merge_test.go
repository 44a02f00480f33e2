package traceqltest

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/traceql"
	"github.com/bramble-tracing/bramble/internal/traceql/exec"
)

// shards splits spans by trace over several stores, as owners of traces do in a cluster.
func shards(b *store.Batch) [3]*store.Batch {
	var out [3]*store.Batch
	for i := range out {
		out[i] = &store.Batch{Resources: b.Resources, Scopes: b.Scopes}
	}
	for _, s := range b.Spans {
		shard := out[s.TraceID.Hash()%3]
		shard.Spans = append(shard.Spans, s)
	}
	return out
}

// wired sends a search result as bytes.
func wired(t *testing.T, res *exec.SearchResult) *exec.SearchResult {
	t.Helper()
	b, err := res.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	out := &exec.SearchResult{}
	if err := out.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if len(out.Traces)+len(res.Traces) > 0 && !reflect.DeepEqual(out.Traces, res.Traces) || out.Stats != res.Stats {
		t.Fatalf("sent %+v, got %+v", res, out)
	}
	return out
}

// TestSearchesMerge compares the merged answers of several stores with the answer of one that has everything.
func TestSearchesMerge(t *testing.T) {
	b := workload(3_000)
	for _, q := range compileAll(t,
		`{ }`, `{ status = error }`, `{ kind = server } >> { kind = client } | by(resource.service.name) | count() > 1`,
		`{ } | avg(duration) > 10ms | select(span.http.route)`, `{ name = "nothing" }`,
	) {
		for _, limit := range []int{3, 20, 1000} {
			o := exec.SearchOptions{Limit: limit}
			want, err := exec.Search(t.Context(), oracleView(t, b, 0), q, o)
			if err != nil {
				t.Fatal(err)
			}
			var parts []*exec.SearchResult
			for _, s := range shards(b) {
				p, err := exec.Search(t.Context(), oracleView(t, s, 0), q, o)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, wired(t, p))
			}
			if got := exec.MergeSearch(limit, 0, parts...); !reflect.DeepEqual(got.Traces, want.Traces) && len(got.Traces)+len(want.Traces) > 0 {
				t.Errorf("%s, limit %d: %d traces differ from the %d of one store", q.AST, limit, len(got.Traces), len(want.Traces))
			}
		}
	}
}

// TestFragmentsMerge joins the rows of one trace that two stores have spans of.
func TestFragmentsMerge(t *testing.T) {
	id := spanid.TraceID{15: 1}
	span := func(n byte, start uint64) exec.SpanRow {
		return exec.SpanRow{ID: spanid.SpanID{7: n}, StartNano: start}
	}
	a := &exec.SearchResult{Traces: []exec.TraceRow{{
		ID: id, RootService: exec.RootNotReceived, StartNano: 100, DurationNano: 50,
		Spansets:     []exec.SpansetRow{{Spans: []exec.SpanRow{span(2, 110), span(3, 120), span(4, 130)}, Matched: 5}},
		ServiceStats: map[string]exec.ServiceStats{"x": {SpanCount: 5, ErrorCount: 1}},
	}}}
	b := &exec.SearchResult{Traces: []exec.TraceRow{{
		ID: id, RootService: "shop", RootName: "GET /", StartNano: 90, DurationNano: 100,
		Spansets:     []exec.SpansetRow{{Spans: []exec.SpanRow{span(1, 90), span(2, 110)}, Matched: 2}},
		ServiceStats: map[string]exec.ServiceStats{"x": {SpanCount: 1}, "shop": {SpanCount: 1}},
	}}}
	got := exec.MergeSearch(0, 0, a, nil, b).Traces
	want := []exec.TraceRow{{
		ID: id, RootService: "shop", RootName: "GET /", StartNano: 90, DurationNano: 100,
		Spansets:     []exec.SpansetRow{{Spans: []exec.SpanRow{span(1, 90), span(2, 110), span(3, 120)}, Matched: 6}},
		ServiceStats: map[string]exec.ServiceStats{"x": {SpanCount: 6, ErrorCount: 1}, "shop": {SpanCount: 1}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestTagsMerge compares the names and values of several stores with those of one.
func TestTagsMerge(t *testing.T) {
	b := workload(3_000)
	route, err := traceql.ParseAttribute("span.http.route")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []exec.TagOptions{{}, {Limit: 3}, {MaxBytes: 60}} {
		var names []*exec.TagNamesResult
		var values []*exec.TagValuesResult
		for _, s := range shards(b) {
			n, err1 := exec.TagNames(t.Context(), oracleView(t, s, 0), "", o)
			v, err2 := exec.TagValues(t.Context(), oracleView(t, s, 0), route, exec.TagOptions{})
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			names, values = append(names, n), append(values, v)
		}
		wantNames, err1 := exec.TagNames(t.Context(), oracleView(t, b, 0), "", o)
		wantValues, err2 := exec.TagValues(t.Context(), oracleView(t, b, 0), route, exec.TagOptions{})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if got := exec.MergeTagNames(o.Limit, o.MaxBytes, names...); !reflect.DeepEqual(got.Scopes, wantNames.Scopes) {
			t.Errorf("%+v: names %v, want %v", o, got.Scopes, wantNames.Scopes)
		}
		got := exec.MergeTagValues(o.Limit, o.MaxBytes, values...).Values
		if n := len(got); n == 0 || !reflect.DeepEqual(got, wantValues.Values[:n]) || o.Limit == 0 && o.MaxBytes == 0 && n != len(wantValues.Values) {
			t.Errorf("%+v: values %v, want the first of %v", o, got, wantValues.Values)
		}
	}
}

// FuzzPartialResults feeds arbitrary bytes to the decoders: what they take is encoded to something equal, and they never
// panic.
func FuzzPartialResults(f *testing.F) {
	b := workload(200)
	view := func() store.View { return oracleView(f, b, 0) }
	for _, query := range []string{
		`{ } | rate() by(resource.service.name)`, `{ } | quantile_over_time(duration, .9)`, `{ } | min_over_time(duration)`,
		`{ } | compare({ status = error })`,
	} {
		q, err := traceql.Compile(query)
		if err != nil {
			f.Fatal(err)
		}
		p, err := exec.MetricsPartial(f.Context(), view(), q, exec.MetricsOptions{Start: Epoch, End: Epoch + 1e10, Step: time.Second})
		if err != nil {
			f.Fatal(err)
		}
		data, _ := p.MarshalBinary()
		f.Add(data)
	}
	f.Add(splitPartial(f, b))
	q, err := traceql.Compile(`{ } | by(name) | select(span.http.route)`)
	if err != nil {
		f.Fatal(err)
	}
	res, err := exec.Search(f.Context(), view(), q, exec.SearchOptions{})
	if err != nil {
		f.Fatal(err)
	}
	data, _ := res.MarshalBinary()
	f.Add(data)
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again exec.Partial
		if err := p.UnmarshalBinary(data); err == nil {
			first, _ := p.MarshalBinary()
			if err := again.UnmarshalBinary(first); err != nil {
				t.Fatalf("own bytes are refused: %v", err)
			}
			if second, _ := again.MarshalBinary(); !bytes.Equal(first, second) {
				t.Fatalf("not stable: %x, then %x", first, second)
			}
		} else if !errors.Is(err, exec.ErrWire) {
			t.Fatal(err)
		}
		var res, resAgain exec.SearchResult
		if err := res.UnmarshalBinary(data); err == nil {
			sent, _ := res.MarshalBinary()
			if err := resAgain.UnmarshalBinary(sent); err != nil {
				t.Fatalf("own bytes are refused: %v", err)
			}
		} else if !errors.Is(err, exec.ErrWire) {
			t.Fatal(err)
		}
	})
}

// TestPartialVersions refuses what another version may have written.
func TestPartialVersions(t *testing.T) {
	data, _ := (&exec.Partial{}).MarshalBinary()
	data[0]++
	if err := (&exec.Partial{}).UnmarshalBinary(data); !errors.Is(err, exec.ErrWire) || !strings.Contains(err.Error(), "version") {
		t.Errorf("error %v, want one about the version", err)
	}
}
