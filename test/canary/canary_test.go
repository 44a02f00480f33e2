package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/internal/testkit"
	"github.com/bramble-tracing/bramble/test/diskscan"
	"github.com/bramble-tracing/bramble/test/harness"
)

func full() bool { return os.Getenv("BRAMBLE_FULL") != "" }

// TestCanary runs the built binary with the shipped configuration, kills it under load, makes blocks of everything, merges
// them, and finds no planted secret anywhere; and it finds every one in the control run, in which pii only reports.
func TestCanary(t *testing.T) {
	if full() {
		require.True(t, diskscan.HasDuckDB(t), "node or the packages of test/interop are missing: run `make test-deps`")
	}
	t.Run("enforce", func(t *testing.T) {
		e := runExperiment(t, "enforce")
		for way, found := range e.all.Found {
			e.explain(t, way, found)
		}
	})
	t.Run("control", func(t *testing.T) {
		e := runExperiment(t, "report")
		first, both := e.firstRound, len(e.p.planted)
		// The log of the first round holds everything of it, blocks hold both.
		e.requireAll(t, "the log before blocks", e.log.Found[diskscan.Log], first)
		ways := []string{diskscan.Frames, diskscan.Reader, traceByID}
		if diskscan.HasDuckDB(t) {
			ways = append(ways, diskscan.DuckDB)
		} else {
			t.Log("DuckDB was not asked: run `make test-deps`")
		}
		for _, way := range ways {
			e.requireAll(t, way, e.blocks.Found[way], both)
		}
		// These show names, values and keys of some spans only.
		for _, way := range []string{diskscan.Raw, metrics, tagsAPI, searchAPI, metricsAPI} {
			assert.NotEmpty(t, e.all.Found[way], way)
		}
		// These must not show values whatever the mode is. (zPages may: they show what the test itself asked for.)
		for _, way := range []string{processLog, statusPage} {
			e.explain(t, way, e.all.Found[way])
		}
	})
}

// experiment is what a run has planted and what was found of it.
type experiment struct {
	p          *planter
	firstRound int              // secrets planted in the first round
	log        *diskscan.Report // of the first round, while everything is in the log
	blocks     *diskscan.Report // at the end, when everything is in blocks
	all        *diskscan.Report // at any time
	traces     [][]byte
}

func (e *experiment) explain(t *testing.T, way string, found map[int]string) {
	t.Helper()
	ids := slices.Sorted(maps.Keys(found))
	for _, id := range ids[:min(len(ids), 20)] {
		p := e.p.planted[id]
		t.Errorf("%s: %s of %s (%.80q) is in %s", way, p.kind, p.place, p.text, found[id])
	}
	if len(ids) > 20 {
		t.Errorf("%s: and %d more", way, len(ids)-20)
	}
}

// requireAll says that the secrets below n were found.
func (e *experiment) requireAll(t *testing.T, way string, found map[int]string, n int) {
	t.Helper()
	missing := 0
	for id := range n {
		if _, ok := found[id]; ok {
			continue
		}
		if missing++; missing <= 20 {
			t.Errorf("%s: the search does not find %s of %s (%.80q)", way, e.p.planted[id].kind, e.p.planted[id].place, e.p.planted[id].text)
		}
	}
	assert.Zero(t, missing, "%s: secrets of %d that the search does not find although they are there", way, n)
}

// plant returns requests of all kinds in all encodings; by default each kind in two of them.
func (e *experiment) plant() []message {
	var out []message
	for i, enc := range encodings {
		for kind := range kinds {
			if !full() && (i+kind)%3 != 0 {
				continue
			}
			id, req := e.p.request(kind, enc.name)
			e.traces = append(e.traces, id)
			out = append(out, message{enc.send, req})
		}
	}
	e.p.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func runExperiment(t *testing.T, mode string) *experiment {
	t.Helper()
	e := &experiment{p: newPlanter(7), all: diskscan.NewReport()}
	with := func(settings ...any) map[string]any {
		settings = append(settings, "connectors::trace_metrics::metrics_flush_interval", "1s") // So that the test need not wait 15 s.
		if mode != "enforce" {                                                                 // Otherwise it is as it is shipped.
			settings = append(settings, "processors::pii::mode", mode)
		}
		return harness.Set(settings...)
	}
	// In the first round everything fits into memory, so the log holds it.
	b := harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: with()})
	dir := filepath.Join(b.Data, "trace_store")
	messages := e.plant()
	e.firstRound = len(e.p.planted)
	second := e.plant()
	look := func() {
		e.all.Merge(diskscan.Live(t, dir, &e.p.needles))
		pages(t, b, e.p, e.all)
	}
	dead := func() *diskscan.Report {
		r := diskscan.Store(t, dir, &e.p.needles)
		e.all.Merge(r)
		return r
	}
	l := startLoad(t, b, messages)
	l.until(t, 0.3, look)
	harness.Poll(t, time.Minute, "metrics of the spans", func() error {
		a := b.Do(http.MethodGet, "http://"+b.Addr("exporters::prometheus")+"/metrics", http.NoBody)
		if !strings.Contains(string(a.Body), `service="canary"`) {
			return errors.New("they are not there")
		}
		return nil
	})
	look()
	l.killed(t, b)
	dead()
	b.Restart()
	l.until(t, 1, look)
	b.Kill()
	e.log = dead()

	// In the second one there is so little memory that it always writes blocks, and it is killed again.
	small := with("extensions::trace_store::memory::limit_mib", 16,
		"extensions::trace_store::compaction::min_blocks", 2, "extensions::trace_store::compaction::cpu_limit_percentage", 100)
	b = harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Overlay: small, Data: b.Data})
	other := testkit.NewGenerator(3)
	l = startLoad(t, b, second)
	l.until(t, 0.4, func() { fill(t, b, other, 2000); look() })
	l.killed(t, b)
	dead()
	b.Restart()
	l.until(t, 1, func() { fill(t, b, other, 2000); look() })
	b.Stop()
	dead()
	b.Restart()
	e.flush(t, b, dir, other, look)
	b.Stop()
	// With so little memory the blocks that hold prompts would not be merged: their values are too large for it.
	b = harness.Start(t, harness.Config{Files: []string{"config/local.yaml"}, Data: b.Data, Overlay: with("extensions::trace_store::memory::limit_mib", 512,
		"extensions::trace_store::compaction::min_blocks", 2, "extensions::trace_store::compaction::cpu_limit_percentage", 100)})
	e.compact(t, b, dir, other, look)
	blocks := diskscan.NewReport()
	answers(t, b, e.p, e.traces, blocks)
	pages(t, b, e.p, blocks)
	b.Stop()
	blocks.Merge(dead())
	e.blocks = blocks
	e.all.Merge(blocks)
	t.Logf("%s: %d secrets planted in %d requests of %d encodings; looked at %v", mode, len(e.p.planted), len(messages)+len(second), len(encodings), e.all.Read)
	return e
}

// flush sends spans until no segment of the log that is there now is left, so that everything is in blocks.
func (e *experiment) flush(t *testing.T, b *harness.Bramble, dir string, other *testkit.Generator, look func()) {
	t.Helper()
	segments := func() map[string]bool {
		out := map[string]bool{}
		list, err := os.ReadDir(filepath.Join(dir, "wal"))
		require.NoError(t, err)
		for _, f := range list {
			out[f.Name()] = true
		}
		return out
	}
	// The newest one, too, which is being written: after an orderly stop it may be one that the process before has begun. It
	// goes when the head that it belongs to has become a block.
	before := segments()
	harness.Poll(t, 2*time.Minute, "all spans to be in blocks", func() error {
		fill(t, b, other, 5000)
		now := segments()
		for name := range before {
			if now[name] {
				return fmt.Errorf("segment %s is still there", name)
			}
		}
		return nil
	})
	look()
}

// compact sends spans until each block that is there now has been merged into another one.
func (e *experiment) compact(t *testing.T, b *harness.Bramble, dir string, other *testkit.Generator, look func()) {
	t.Helper()
	unmerged := func() map[string]bool {
		out := map[string]bool{}
		list, err := filepath.Glob(filepath.Join(dir, "blocks", "*", "meta.json"))
		require.NoError(t, err)
		for _, f := range list {
			var meta struct{ Level int }
			text, err := os.ReadFile(f)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &meta), f)
			if meta.Level == 0 {
				out[filepath.Base(filepath.Dir(f))] = true
			}
		}
		return out
	}
	before := unmerged()
	harness.Poll(t, 2*time.Minute, "all blocks to be merged", func() error {
		now := unmerged()
		for id := range before {
			if now[id] {
				fill(t, b, other, 2000)
				return fmt.Errorf("block %s is still there", id)
			}
		}
		return nil
	})
	look()
	list, err := filepath.Glob(filepath.Join(dir, "blocks", "*"))
	require.NoError(t, err)
	merged := len(list) - len(unmerged())
	require.Positive(t, merged, "merged blocks")
	t.Logf("%d blocks were waiting to be merged, and are; there are %d merged ones", len(before), merged)
}

// TestQueueOnDisk: what config/forward.yaml queues on disk for a central Tempo that is away has been scrubbed, too.
func TestQueueOnDisk(t *testing.T) {
	for mode, finds := range map[string]bool{"enforce": false, "report": true} {
		t.Run(mode, func(t *testing.T) {
			e := &experiment{p: newPlanter(8)}
			b := harness.Start(t, harness.Config{
				Files: []string{"config/forward.yaml"}, Env: []string{"TEMPO_OTLP_GRPC_ENDPOINT=" + harness.FreeAddr(t)},
				Overlay: harness.Set("processors::pii::mode", mode, "processors::tail_sampling::decision_wait", "1s"),
			})
			messages := e.plant()
			queue := filepath.Join(b.Data, "file_storage_queue")
			startLoad(t, b, messages).until(t, 1, func() {})
			// Spans pass sampling and the batch processor in no order; what is queued last is known by counting.
			harness.Poll(t, time.Minute, "spans in the queue", func() error {
				a := b.Do(http.MethodGet, "http://"+b.Addr("service::telemetry::metrics")+"/metrics", http.NoBody)
				want := fmt.Sprintf("otelcol_processor_batch_batch_send_size_sum{processor=\"batch\"} %d\n", len(messages))
				if !strings.Contains(string(a.Body), want) {
					return errors.New("not all spans have left the batch processor")
				}
				return nil
			})
			b.Stop()
			r := diskscan.Live(t, queue, &e.p.needles)
			require.Positive(t, r.Read[diskscan.Raw])
			if finds {
				for id, p := range e.p.planted {
					// Tail sampling itself loses the schemas.
					if _, ok := r.Found[diskscan.Raw][id]; !ok && !strings.Contains(p.place, "schema of a resource") && !strings.Contains(p.place, "schema of a scope") {
						t.Errorf("the search does not find %s of %s (%.80q)", p.kind, p.place, p.text)
					}
				}
				return
			}
			for way, found := range r.Found {
				e.explain(t, way, found)
			}
		})
	}
}
