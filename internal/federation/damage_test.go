package federation

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store/oracle"
	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/internal/tracedb"
)

// TestDamageAtPeerIsNamed: a peer with a block that is damaged answers from the rest, and the answer of who asked says what
// is missing and where.
func TestDamageAtPeerIsNamed(t *testing.T) { // M-12, Q-05
	t.Run("whole", func(t *testing.T) { askPeer(t, false) })
	t.Run("damaged", func(t *testing.T) { askPeer(t, true) })
}

// askPeer asks everything of an agent without spans and its peer.
func askPeer(t *testing.T, damaged bool) {
	t.Helper()
	fsys := fsx.NewMem()
	db, err := tracedb.Open(t.Context(), tracedb.Options{FS: fsys, Dir: "data"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(context.Background())) })
	gen := testkit.NewGenerator(1)
	gen.SetTime(time.Now().Add(-time.Minute))
	for range 2 {
		require.NoError(t, db.Append(t.Context(), gen.Batch(50)))
		require.NoError(t, db.Rewrite(t.Context()))
	}
	broken := ""
	if damaged {
		blocks, err := fsys.ReadDir(filepath.Join("data", "blocks"))
		require.NoError(t, err)
		broken = blocks[0].Name
		path := filepath.Join("data", "blocks", broken, "resources.parquet")
		data, err := fsx.ReadFile(fsys, path)
		require.NoError(t, err)
		require.NoError(t, fsx.WriteFileAtomic(fsys, path, data[:len(data)/2]))
	}
	server := grpc.NewServer()
	NewServer(query.New(db, query.Limits{}), "ill", "2").Register(server)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }() // It ends by Stop.
	t.Cleanup(server.Stop)
	p := follow(t, Static{l.Addr().String()}, "1")
	eventually(t, p, "ill", "")
	s := query.New(oracle.New(0), query.Limits{})
	s.Federate(query.Federation{Peers: p})

	type answer struct {
		partial string
		stats   query.Stats
		found   int
	}
	end := uint64(time.Now().Add(time.Hour).UnixNano())
	start := end - uint64(2*time.Hour)
	ask := map[string]func() (answer, error){
		"search": func() (answer, error) {
			r, err := s.Search(t.Context(), query.SearchRequest{Query: `{ resource.service.name != nil }`, StartNano: start, EndNano: end})
			if err != nil {
				return answer{}, err
			}
			return answer{r.Partial, r.Stats, len(r.Traces)}, nil
		},
		"metrics": func() (answer, error) {
			r, err := s.Metrics(t.Context(), query.MetricsRequest{Query: "{} | rate() by (resource.service.name)", StartNano: start, EndNano: end, Step: time.Minute})
			if err != nil {
				return answer{}, err
			}
			return answer{r.Partial, r.Stats, len(r.Series)}, nil
		},
		"names": func() (answer, error) {
			r, err := s.TagNames(t.Context(), query.TagNamesRequest{Query: "{ duration >= 0s }", StartNano: start, EndNano: end})
			if err != nil {
				return answer{}, err
			}
			return answer{r.Partial, r.Stats, len(r.Scopes)}, nil
		},
		"values": func() (answer, error) {
			r, err := s.TagValues(t.Context(), query.TagValuesRequest{Name: "resource.service.name", Query: "{ duration >= 0s }", StartNano: start, EndNano: end})
			if err != nil {
				return answer{}, err
			}
			return answer{r.Partial, r.Stats, len(r.Values)}, nil
		},
	}
	// In this order: names are in the catalogue, so that a request for names alone does not find the damage.
	for _, name := range []string{"metrics", "names", "search", "values"} {
		f := ask[name]
		for _, state := range []string{"just found", "in quarantine"} {
			a, err := f()
			require.NoError(t, err, name)
			require.Positive(t, a.found, name)
			if !damaged {
				require.Empty(t, a.partial, name)
				require.Equal(t, a.stats.Jobs, a.stats.Completed, name)
				continue
			}
			require.Contains(t, a.partial, "ill: ", "%s, %s", name, state)
			require.Contains(t, a.partial, broken, name)
			require.Contains(t, a.stats.Missing, "ill: ", name)
			require.Less(t, a.stats.Completed, a.stats.Jobs, name)
		}
	}
}
