package block

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/testkit"
)

// expectation is what test/interop/read.mjs compares a block with.
type expectation struct {
	Block      string      `json:"block"`
	Spans      []wantSpan  `json:"spans"`
	Events     []wantEvent `json:"events"`
	Links      int         `json:"links"`
	Resources  int         `json:"resources"`
	Filters    [][]any     `json:"filters"`
	Routes     [][]any     `json:"routes,omitempty"`
	Calls      [][]any     `json:"calls,omitempty"`
	Exceptions [][]any     `json:"exceptions,omitempty"`
}

type wantSpan struct {
	TraceID  string            `json:"trace_id"`
	SpanID   string            `json:"span_id"`
	Parent   *string           `json:"parent"`
	Name     string            `json:"name"`
	Kind     string            `json:"kind"`
	Status   string            `json:"status"`
	Start    string            `json:"start"`
	Duration string            `json:"duration"`
	Service  *string           `json:"service"`
	Attrs    map[string]string `json:"attrs,omitempty"`
}

type wantEvent struct {
	Row    string            `json:"span_row"`
	Offset string            `json:"offset"`
	Name   string            `json:"name"`
	Attrs  map[string]string `json:"attrs,omitempty"`
}

// expect describes a batch in the order of the block, without help of the code under test.
func expect(id string, b *store.Batch, m *Meta) *expectation {
	e := &expectation{Block: id, Spans: []wantSpan{}, Events: []wantEvent{}, Resources: m.Resources + m.Scopes}
	for i := range b.Spans {
		s := &b.Spans[i]
		w := wantSpan{
			TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), Name: s.Name, Kind: strconv.Itoa(int(s.Kind)),
			Status: strconv.Itoa(int(s.StatusCode)), Start: strconv.FormatInt(int64(s.StartNano), 10),
			Duration: strconv.FormatInt(int64(s.DurationNano()), 10), Attrs: wantAttrs("span.", s.Attrs),
		}
		if v, ok := firstAttr(b.Resources[s.Resource].Attrs, "service.name"); ok && v.Type == store.TypeString {
			w.Service = &v.Str
		}
		if !s.ParentID.IsZero() {
			p := s.ParentID.String()
			w.Parent = &p
		}
		e.Spans = append(e.Spans, w)
		for j := range s.Events {
			ev := &s.Events[j]
			e.Events = append(e.Events, wantEvent{
				Row: strconv.Itoa(i), Offset: strconv.FormatInt(int64(ev.TimeNano-s.StartNano), 10), Name: ev.Name,
				Attrs: wantAttrs("event.", ev.Attrs),
			})
		}
		e.Links += len(s.Links)
	}
	return e
}

func wantAttrs(prefix string, attrs []store.Attr) map[string]string {
	out := map[string]string{}
	seen := map[string]bool{}
	for _, a := range attrs {
		if seen[a.Key] || len(a.Key) > maxKeyBytes {
			continue
		}
		seen[a.Key] = true
		name := prefix + a.Key
		if a.Value.Type != store.TypeString || slices.Contains([]byte(a.Key), '@') {
			name += "@" + a.Value.Type.String()
		}
		switch a.Value.Type {
		case store.TypeString:
			out[name] = a.Value.Str
		case store.TypeInt:
			out[name] = strconv.FormatInt(a.Value.Int(), 10)
		case store.TypeFloat:
			out[name] = fmt.Sprintf("f%016x", math.Float64bits(a.Value.Float()))
		case store.TypeBool:
			out[name] = strconv.FormatBool(a.Value.Bool())
		case store.TypeEmpty:
			out[name] = "false"
		default:
			out[name] = hex.EncodeToString([]byte(a.Value.Str))
		}
	}
	return out
}

// questions answers those of docs/sql.md from the rows.
func (e *expectation) questions(b *store.Batch) {
	type pair [2]string
	durations, calls, exceptions := map[pair][]float64{}, map[pair]int{}, map[pair]int{}
	service := func(s *store.Span) string {
		v, _ := firstAttr(b.Resources[s.Resource].Attrs, "service.name")
		return v.Str
	}
	byID := map[string]*store.Span{}
	for i := range b.Spans {
		byID[b.Spans[i].TraceID.String()+b.Spans[i].SpanID.String()] = &b.Spans[i]
	}
	for i := range b.Spans {
		s := &b.Spans[i]
		if route, ok := firstAttr(s.Attrs, "http.route"); ok && s.Kind == store.KindServer {
			k := pair{service(s), route.Str}
			durations[k] = append(durations[k], float64(s.DurationNano()))
		}
		if p := byID[s.TraceID.String()+s.ParentID.String()]; p != nil && service(p) != service(s) {
			calls[pair{service(p), service(s)}]++
		}
		for j := range s.Events {
			if v, ok := firstAttr(s.Events[j].Attrs, "exception.type"); ok && s.StatusCode == store.StatusError && s.Events[j].Name == "exception" {
				exceptions[pair{service(s), v.Str}]++
			}
		}
	}
	routes := slices.SortedFunc(maps.Keys(durations), func(x, y pair) int {
		return cmp.Or(cmp.Compare(p95(durations[y]), p95(durations[x])), cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]))
	})
	for _, k := range routes[:min(10, len(routes))] {
		e.Routes = append(e.Routes, []any{k[0], k[1], len(durations[k])})
	}
	top := func(counts map[pair]int) (out [][]any) {
		keys := slices.SortedFunc(maps.Keys(counts), func(x, y pair) int {
			return cmp.Or(cmp.Compare(counts[y], counts[x]), cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]))
		})
		for _, k := range keys[:min(10, len(keys))] {
			out = append(out, []any{k[0], k[1], counts[k]})
		}
		return out
	}
	e.Calls, e.Exceptions = top(calls), top(exceptions)
}

// p95 is the continuous quantile, rounded as the statement does it.
func p95(v []float64) float64 {
	slices.Sort(v)
	at := 0.95 * float64(len(v)-1)
	lo := math.Floor(at)
	q := v[int(lo)]
	if int(lo)+1 < len(v) {
		q += (at - lo) * (v[int(lo)+1] - q)
	}
	return math.Round(q/1e6*10) / 10
}

// TestInterop lets DuckDB and hyparquet read blocks and compares every value with what was written.
func TestInterop(t *testing.T) {
	root, err := filepath.Abs("../../../../test/interop")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(root, "node_modules")); err != nil {
		t.Skip("test/interop/node_modules is missing: run `make test-deps`")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: install Node 20 or later to run the interoperability test")
	}
	type testCase struct {
		batch     *store.Batch
		questions bool
		opts      WriterOptions
		copied    *store.Batch // a second block, with which the first is merged
	}
	cases := map[string]testCase{
		"workload": {testkit.NewGenerator(5).Batch(1000), true, WriterOptions{}, nil},
		"nasty":    {testkit.NewNasty(21).Batch(200), false, WriterOptions{}, nil},
		"copied": {
			batch: testkit.NewGenerator(7).Batch(store.GranuleRows + 400), questions: true,
			copied: testkit.NewGenerator(8).Batch(store.GranuleRows + 400),
		},
	}
	if full() {
		cases["row groups"] = testCase{testkit.NewGenerator(6).Batch(2*store.GranuleRows + 100), true, WriterOptions{GroupGranules: 1}, nil}
		cases["much nasty"] = testCase{testkit.NewNasty(23).Batch(3000), false, WriterOptions{}, nil}
		cases["single span"] = testCase{testkit.NewNasty(22).Batch(1), false, WriterOptions{}, nil}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "blocks"), 0o755))
			var m *Meta
			if tc.copied != nil {
				tc.batch, m = writeMerged(t, dir, tc.batch, tc.copied)
			} else {
				sortRows(tc.batch)
				w, err := NewWriter(fsx.OS{}, filepath.Join(dir, "blocks"), WriterOptions{ID: "01B", GroupGranules: tc.opts.GroupGranules})
				require.NoError(t, err)
				require.NoError(t, w.Append(t.Context(), tc.batch))
				m, err = w.Finish(t.Context())
				require.NoError(t, err)
			}
			e := expect("01B", tc.batch, m)
			if len(m.Groups) > 1 { // span_row counts from the row group's start
				for i := range e.Events {
					row, err := strconv.Atoi(e.Events[i].Row)
					require.NoError(t, err)
					e.Events[i].Row = strconv.Itoa(row % m.Groups[0].Rows)
				}
			}
			if tc.questions {
				beside(t, dir)
				e.questions(tc.batch)
				e.filters()
			}
			data, err := json.Marshal(e)
			require.NoError(t, err)
			file := filepath.Join(dir, "expected.json")
			require.NoError(t, os.WriteFile(file, data, 0o600))
			cmd := exec.CommandContext(t.Context(), node, filepath.Join(root, "read.mjs"), dir, file, filepath.Join(root, "../../docs/sql.md"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			t.Logf("%s", out)
		})
	}
}

// beside writes the manifest of a store that has the block 01B only, and what may be there beside it: a block that is
// being written, one that is being removed, and one that was merged and is still in use.
func beside(t *testing.T, dir string) {
	t.Helper()
	manifest := "{\"crc32c\":\"00000000\",\n\"version\":1,\"sequence\":\"1\",\"wal_mark\":\"0\",\"blocks\":[{\"id\":\"01B\",\"level\":0}]}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o600))
	blocks := filepath.Join(dir, "blocks")
	for _, name := range []string{"01C" + TempSuffix, "01A.deleted"} {
		require.NoError(t, os.Mkdir(filepath.Join(blocks, name), 0o750))
		for _, file := range []string{SpansFile, ResourcesFile, EventsFile, MetaFile} {
			require.NoError(t, os.WriteFile(filepath.Join(blocks, name, file), []byte("PAR1 half"), 0o600))
		}
	}
	require.NoError(t, os.CopyFS(filepath.Join(blocks, "01A"), os.DirFS(filepath.Join(blocks, "01B"))))
}

// writeMerged writes two blocks and the block 01B, in which they are merged, with row groups of both copied. It returns
// the rows of that.
func writeMerged(t *testing.T, dir string, batches ...*store.Batch) (*store.Batch, *Meta) {
	t.Helper()
	r, err := NewReader(fsx.OS{}, NewLRU(64<<20), 2)
	require.NoError(t, err)
	defer r.Close()
	other := filepath.Join(dir, "sources")
	require.NoError(t, os.Mkdir(other, 0o755))
	var blocks []*Block
	for i, b := range batches {
		id := "0" + strconv.Itoa(i)
		w, err := NewWriter(fsx.OS{}, other, WriterOptions{ID: id, FirstGroups: []int{1, 1}})
		require.NoError(t, err)
		require.NoError(t, w.Append(t.Context(), aligned(b, []int{1, 1})))
		_, err = w.Finish(t.Context())
		require.NoError(t, err)
		src, err := r.Open(filepath.Join(other, id))
		require.NoError(t, err)
		defer func() { require.NoError(t, src.Release()) }()
		blocks = append(blocks, src)
	}
	require.Len(t, mergeByPlan(t, fsx.OS{}, filepath.Join(dir, "blocks"), "01B", nil, blocks...), len(batches))
	m, err := r.Open(filepath.Join(dir, "blocks", "01B"))
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Release()) }()
	require.NotZero(t, m.meta.Groups[1].ResourceBase)
	return rowsOf(t, m), m.meta
}

// filters adds conditions on single columns with the number of spans that satisfy them.
func (e *expectation) filters() {
	for _, col := range []string{"span.http.route", "span.url.full", "span.messaging.message.id", "span.db.system.name"} {
		counts := map[string]int{"no such value": 0}
		for i := range e.Spans {
			if v, ok := e.Spans[i].Attrs[col]; ok {
				counts[v]++
			}
		}
		n := 0
		for _, v := range slices.Sorted(maps.Keys(counts)) {
			if e.Filters = append(e.Filters, []any{col, v, counts[v]}); n > 20 {
				break
			}
			n++
		}
	}
}
