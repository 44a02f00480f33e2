package tempoapi

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/spanid"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// damagedStore has a block with trace 1, whose resources are damaged after it was opened, and one with trace 2.
func damagedStore(t *testing.T) *tracedb.DB {
	t.Helper()
	fsys := fsx.NewMem()
	db, err := tracedb.Open(t.Context(), tracedb.Options{FS: fsys, Dir: "data"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	for n := range byte(2) {
		b := one()
		b.Spans[0].TraceID = spanid.TraceID{15: n + 1}
		b.Spans[0].StartNano, b.Spans[0].EndNano = 1700000000000000001, 1700000000500000001
		require.NoError(t, db.Append(t.Context(), b))
		require.NoError(t, db.Rewrite(t.Context()))
	}
	blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
	require.NoError(t, err)
	require.Len(t, blocks, 2)
	path := filepath.Join("data", "blocks", blocks[0].Name, "resources.parquet")
	data, err := fsx.ReadFile(fsys, path)
	require.NoError(t, err)
	require.NoError(t, fsx.WriteFileAtomic(fsys, path, data[:len(data)/2]))
	return db
}

// TestDamageIsPartial asks each endpoint first of all about a store with a damaged block: none fails, each says that
// something is missing, and shows the rest. So it does when the block is in quarantine already.
func TestDamageIsPartial(t *testing.T) { // M-12, T-03, Q-05
	const window = "&start=1699999990&end=1700000010"
	for name, tc := range map[string]struct {
		path string
		want string // also in the answer
	}{
		"search":        {"/api/search?q=%7Bresource.service.name%3D%22shop%22%7D" + window, `"traceID":"00000000000000000000000000000002"`},
		"search tags":   {"/api/search?tags=service.name%3Dshop" + window, `"traceID":"00000000000000000000000000000002"`},
		"range":         {"/api/metrics/query_range?q=%7B%7D%7Crate()by(resource.service.name)&step=10" + window, `"status":"PARTIAL"`},
		"instant":       {"/api/metrics/query?q=%7B%7D%7Ccount_over_time()by(resource.service.name)" + window, `"status":"PARTIAL"`},
		"tag values":    {"/api/v2/search/tag/resource.service.name/values?q=%7Bspan.int%3C0%7D" + window, `"shop"`},
		"trace":         {"/api/v2/traces/00000000000000000000000000000001", `"status":"PARTIAL"`},
		"the other":     {"/api/v2/traces/00000000000000000000000000000002", `"spanId"`},
		"unknown trace": {"/api/v2/traces/00000000000000000000000000000009", `"trace":{}`},
	} {
		t.Run(name, func(t *testing.T) {
			db := damagedStore(t)
			api := New(query.New(db, query.Limits{}), Options{})
			for _, state := range []string{"just found", "in quarantine"} {
				r := get(t, api, tc.path)
				text := body(t, r)
				require.Equal(t, http.StatusOK, r.StatusCode, "%s: %s", state, text)
				require.Contains(t, text, tc.want, state)
				if name == "the other" || name == "unknown trace" {
					require.NotContains(t, text, "PARTIAL", state)
					continue
				}
				if name != "trace" {
					var m struct {
						Metrics struct{ CompletedJobs, TotalJobs int }
					}
					require.NoError(t, json.Unmarshal([]byte(text), &m), text)
					require.Less(t, m.Metrics.CompletedJobs, m.Metrics.TotalJobs, state)
				}
				require.NoError(t, db.Rewrite(t.Context()))
				require.Equal(t, uint64(1), db.Stats().Quarantined)
			}
			v1 := get(t, api, "/api/traces/00000000000000000000000000000001")
			require.Equal(t, http.StatusNotFound, v1.StatusCode, "it has no form for partial answers")
			require.NoError(t, v1.Body.Close())
		})
	}
}
