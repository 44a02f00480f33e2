package conformance

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bramble-tracing/bramble/test/harness"
)

// knownDeviations are recorded answers that contradict the contract without being marked as oddities. We follow the
// contract.
var knownDeviations = map[string]string{
	"a-search-056":  "1s < duration is duration > 1s; Tempo finds nothing (E-14)",
	"a-metrics-057": "Tempo counts attributes that the filter mentions twice (X-50)",
	"a-metrics-094": "Tempo counts attributes that the filter mentions twice (X-50)",
	"a-values-069":  "Tempo loses the method of three matching spans (V-08)",
}

// knownInBlocks are those that differ only when spans are in blocks.
var knownInBlocks = map[string]string{
	"a-search-256": "blocks have the spans of a trace by start, so siblings are numbered by start and not as they arrived (E-05 leaves it open)",
}

// TestRecorded replays what a real Tempo 3.0.3 was asked, with the replayer that comes with the recording: while the
// spans are in memory, and when they are in blocks.
func TestRecorded(t *testing.T) {
	dir := harness.Root(t, "..", "shared", "tempo-recorded")
	if env := os.Getenv("BRAMBLE_RECORDED"); env != "" {
		dir = env
	}
	if _, err := os.Stat(filepath.Join(dir, "cases.jsonl")); err != nil {
		t.Skipf("there are no recorded answers of Tempo beside the checkout (BRAMBLE_RECORDED names another directory): %v", err)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the replayer needs python3")
	}
	w := &world{Bramble: start(t, nil), at: time.Now()}
	t0 := ""
	replay := func(t *testing.T, known map[string]string, more ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		args := append([]string{filepath.Join(dir, "replay.py"), dir, "-v", "--otlp", "http://" + w.HTTP(), "--query", "http://" + w.QueryAddr()}, more...)
		out, err := exec.CommandContext(ctx, python, args...).CombinedOutput()
		text := string(out)
		failed := map[string]string{}
		sc := bufio.NewScanner(strings.NewReader(text))
		for sc.Scan() {
			if f := strings.Fields(sc.Text()); len(f) > 1 && (f[0] == "FAIL" || f[0] == "quirk" && strings.HasPrefix(f[1], "a-")) {
				failed[f[1]] = sc.Text()
			}
		}
		require.Equal(t, slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(failed)), "%v\n%s", err, text)
		var good, total int
		summary := regexp.MustCompile(`(\d+) of (\d+) cases as recorded`).FindStringSubmatch(text)
		require.NotNil(t, summary, text)
		_, err = fmt.Sscan(summary[1]+" "+summary[2], &good, &total)
		require.NoError(t, err)
		require.Equal(t, total-len(known), good)
		require.Greater(t, total, 700)
		t0 = regexp.MustCompile(`t0=(\d+)`).FindStringSubmatch(text)[1]
		t.Logf("%s, the others are %v", summary[0], slices.Sorted(maps.Keys(known)))
	}
	t.Run("head", func(t *testing.T) { replay(t, knownDeviations) })
	if t.Failed() {
		return
	}
	w.intoBlocks(t, "storefront") // A service of the recording.
	t.Run("blocks", func(t *testing.T) {
		known := maps.Clone(knownDeviations)
		maps.Copy(known, knownInBlocks)
		replay(t, known, "--no-push", "--t0", t0)
	})
}
