package selfcheck

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func join(t *testing.T, name string) *Source {
	t.Helper()
	s, err := Join(name)
	require.NoError(t, err)
	return s
}

func names(checks []Check) string {
	var out []string
	for _, c := range checks {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

func TestBoard(t *testing.T) {
	a, b := join(t, "a"), join(t, "b")
	require.Same(t, a.Board(), b.Board(), "one board for the process")
	a.Report(Check{Name: "z"}, Check{Name: "m"})
	b.Report(Check{Name: "n"})
	assert.Equal(t, "m n z", names(a.Board().Checks()))
	b.Report(Check{Name: "b"})
	assert.Equal(t, "b m z", names(a.Board().Checks()), "a report replaces the one before")
	a.ReportFunc(func() []Check { return []Check{{Name: "live"}} })
	assert.Equal(t, "b live", names(a.Board().Checks()))
	successor := join(t, "a")
	successor.Report(Check{Name: "new"})
	require.NoError(t, a.Leave())
	assert.Equal(t, "b new", names(b.Board().Checks()), "who leaves does not take its successor's report along")
	require.NoError(t, successor.Leave())
	assert.Equal(t, "b", names(b.Board().Checks()))
	require.NoError(t, b.Leave())
	require.NoError(t, (*Source)(nil).Leave())
}

func TestBoardConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "a", "b"} {
		s := join(t, name)
		wg.Go(func() {
			for range 200 {
				s.Report(Check{Name: name})
				if len(s.Board().Checks()) > 2 {
					t.Error("two sources have two checks at most")
				}
			}
		})
		defer func() { require.NoError(t, s.Leave()) }()
	}
	wg.Wait()
}

func TestWorst(t *testing.T) {
	for want, states := range map[State][]State{
		OK:   {OK, Skipped},
		Warn: {Warn, OK, Skipped, Warn},
		Fail: {OK, Fail, Warn},
	} {
		var checks []Check
		for _, s := range states {
			checks = append(checks, Check{State: s})
		}
		assert.Equal(t, want, Worst(checks), states)
	}
	assert.Equal(t, OK, Worst(nil))
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	Write(&b, []Check{
		{Name: "dns/a", State: OK, Detail: "10.0.0.1"},
		{Name: "clock", State: Fail, Detail: "bad\n\x1b[31mred", Fix: "set it"},
	})
	assert.Equal(t, "ok      dns/a  10.0.0.1\nfail    clock  bad  [31mred\n               to do: set it\n", b.String())
	long := OneLine(strings.Repeat("ä", maxLine))
	assert.LessOrEqual(t, len(long), maxLine+len("…"))
	assert.True(t, strings.HasSuffix(long, "ä…"))
}
