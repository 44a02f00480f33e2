package pii

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBoard(t *testing.T) {
	var b Board
	l := b.Ledger("pii")
	assert.Same(t, l, b.Ledger("pii"))
	b.Ledger("pii/a")
	rules := compile(t, map[string]RuleConfig{"emails": {Places: []string{"span"}}, "own": {Keys: []string{"x"}}})
	now := time.Unix(1_700_000_000, 0).UTC()
	l.Configure("enforce", "/rules.yaml", rules.List(), now)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				l.Add("emails", l.Service("shop", 2), PlaceSpan, 2, "a@a.a")
				l.Add("gone", l.Service("cart", 2), PlaceLink, 1, "9{4}")
				l.Add("cards", l.Service("third", 2), PlaceEvent, 1, "")
				_ = b.Snapshots()
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		l.Add("own", "", PlaceSpan, 1, string(rune('a'+i)))
	}
	l.AddDropped(3, 1)
	l.Refused("bad")
	snaps := b.Snapshots()
	require.Len(t, snaps, 2)
	s := snaps[0]
	assert.Equal(t, "pii", s.Component)
	assert.Equal(t, "bad", s.Problem)
	assert.Equal(t, uint64(1), s.Refused)
	assert.Equal(t, uint64(3), s.DroppedSpans)
	byName := map[string]RuleStatus{}
	for _, r := range s.Rules {
		byName[r.Name] = r
	}
	assert.Len(t, byName, len(builtins)+2, "built-in rules, the own one, and one that is configured no more")
	assert.Equal(t, RuleStatus{
		Name: "emails", Action: "redact", Enabled: true, Places: []string{"span"}, Hits: 800,
		ByPlace: map[string]uint64{"span": 800}, ByService: map[string]uint64{"shop": 800}, Shapes: []string{"a@a.a"},
	}, byName["emails"])
	assert.False(t, byName["iban"].Enabled)
	assert.False(t, byName["gone"].Enabled)
	assert.Equal(t, map[string]uint64{OtherServices: 400}, byName["cards"].ByService, "a third service is beyond the limit")
	assert.Len(t, byName["own"].Shapes, maxShapes)
	l.Configure("report", "/rules.yaml", rules.List(), now)
	assert.Empty(t, b.Snapshots()[0].Problem, "good rules end the problem")
	_, err := json.Marshal(s)
	require.NoError(t, err)
}

// TestCleanTextAllocatesNothing: texts of the negative corpus, keys and numbers. Only what has to be decoded to be judged
// may allocate, which one in ten of these look-alikes does at most.
func TestCleanTextAllocatesNothing(t *testing.T) {
	sc := defaults(t).NewScanner()
	texts := readLines(t, "negative.txt")
	var clean []string
	for _, s := range texts {
		if _, v := sc.Value(PlaceSpan, sc.Key("k"), s); v == Keep {
			clean = append(clean, s)
		}
	}
	require.Greater(t, len(clean), 500)
	total := 0.0
	for _, s := range clean {
		n := testing.AllocsPerRun(1, func() {
			k := sc.Key("some.key")
			sc.Value(PlaceSpan, k, s)
			sc.Text(PlaceStatus, s)
			sc.Number(PlaceSpan, k, 1732159200123456789)
			sc.Statement(PlaceSpan, sc.Key("db.statement"), "postgresql", "SELECT a FROM t1 WHERE b = $1")
		})
		if n > 0 {
			t.Logf("%v allocations for %q", n, s)
		}
		total += n
	}
	// Verification of what looks like a token decodes it.
	assert.LessOrEqual(t, total/float64(len(clean)), 0.1)
}
