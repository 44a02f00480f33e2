package compact

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// parse reads blocks: "id/level age-in-minutes [option=value]...", the age before noon.
func parse(t *testing.T, lines ...string) []Block {
	t.Helper()
	var out []Block
	for _, l := range lines {
		f := strings.Fields(l)
		b := Block{Rows: 100, Traces: 10, Bytes: 1000}
		id, level, _ := strings.Cut(f[0], "/")
		b.ID = id
		_, err := fmt.Sscan(level, &b.Level)
		require.NoError(t, err)
		age := 0
		_, err = fmt.Sscan(f[1], &age)
		require.NoError(t, err)
		b.Newest = noon.Add(-time.Duration(age) * time.Minute)
		b.Stored = b.Newest
		for _, o := range f[2:] {
			k, v, _ := strings.Cut(o, "=")
			n := 0
			_, err := fmt.Sscan(v, &n)
			require.NoError(t, err)
			switch k {
			case "rows":
				b.Rows = n
			case "traces":
				b.Traces = n
			case "bytes":
				b.Bytes = int64(n)
			case "hidden":
				b.Hidden = n
			case "stored":
				b.Stored = noon.Add(-time.Duration(n) * time.Minute)
			case "waiting":
				b.Waiting = n > 0
			default:
				t.Fatalf("option %q", k)
			}
		}
		out = append(out, b)
	}
	return out
}

func show(jobs []Job) string {
	out := make([]string, 0, len(jobs))
	for _, j := range jobs {
		out = append(out, fmt.Sprintf("%d:%s", j.Level, strings.Join(j.Inputs, "+")))
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	limits := Limits{MinBlocks: 3, MaxBlocks: 6, MaxRows: 10_000, MaxTraces: 1000, MaxBytes: 100_000, Free: -1, Grace: 10 * time.Minute}
	decides := func(l *Limits) { l.Decides, l.Window = true, time.Hour }
	for name, tc := range map[string]struct {
		change func(*Limits)
		now    time.Duration // after noon
		blocks []string
		want   string
	}{
		"nothing":                   {},
		"too few":                   {blocks: []string{"a/0 5", "b/0 4"}},
		"enough":                    {blocks: []string{"a/0 5", "b/0 4", "c/0 3"}, want: "1:a+b+c"},
		"in the order of time":      {blocks: []string{"c/0 3", "b/0 4", "a/0 5"}, want: "1:a+b+c"},
		"not across an hour":        {now: time.Minute, blocks: []string{"a/0 2", "b/0 1", "c/0 0"}},
		"an hour that is over":      {now: 10 * time.Minute, blocks: []string{"a/0 2", "b/0 1", "c/0 0"}, want: "1:a+b"},
		"it is over, but goes on":   {now: 10 * time.Minute, blocks: []string{"a/0 90 stored=0", "b/0 80 stored=-5"}},
		"one alone stays":           {now: 20 * time.Minute, blocks: []string{"a/0 2"}},
		"at most so many":           {blocks: []string{"a/0 9", "b/0 8", "c/0 7", "d/0 6", "e/0 5", "f/0 4", "g/0 3", "h/0 2", "i/0 1"}, want: "1:a+b+c+d+e+f 1:g+h+i"},
		"rows":                      {blocks: []string{"a/0 9 rows=6000", "b/0 8 rows=3000", "c/0 7 rows=1000", "d/0 6 rows=1"}, want: "1:a+b+c"},
		"traces":                    {blocks: []string{"a/0 9 traces=600", "b/0 8 traces=300", "c/0 7 traces=100", "d/0 6 traces=1"}, want: "1:a+b+c"},
		"bytes":                     {blocks: []string{"a/0 9 bytes=60000", "b/0 8 bytes=30000", "c/0 7 bytes=10000", "d/0 6"}, want: "1:a+b+c"},
		"one that is too large":     {now: 20 * time.Minute, blocks: []string{"a/0 9 rows=20000", "b/0 8", "c/0 7"}, want: "1:b+c"},
		"disk is short":             {change: func(l *Limits) { l.Free = 5999 }, blocks: []string{"a/0 5", "b/0 4", "c/0 3"}},
		"disk suffices":             {change: func(l *Limits) { l.Free = 6000 }, blocks: []string{"a/0 5", "b/0 4", "c/0 3"}, want: "1:a+b+c"},
		"to the last level":         {blocks: []string{"a/1 100", "b/1 99", "c/1 98", "d/1 40", "e/1 30", "f/1 20"}, want: "2:a+b+c+d+e+f"},
		"too few for the last":      {blocks: []string{"a/1 100", "b/1 99", "c/1 98", "d/1 40", "e/1 30"}},
		"large enough for it":       {blocks: []string{"a/1 100 rows=2500", "b/1 99 rows=2500"}, want: "2:a+b"},
		"the last level stays":      {now: 48 * time.Hour, blocks: []string{"a/2 100", "b/2 99", "c/2 98", "d/2 40", "e/2 30", "f/2 20"}},
		"a day that is over":        {now: 13 * time.Hour, blocks: []string{"a/1 100", "b/1 50"}, want: "2:a+b"},
		"not across a day":          {now: 13 * time.Hour, blocks: []string{"a/1 800", "b/1 700"}},
		"leftovers go along":        {now: 13 * time.Hour, blocks: []string{"a/0 100", "b/1 50"}, want: "2:a+b"},
		"a merge of each":           {blocks: []string{"a/1 100 rows=2500", "b/1 99 rows=2500", "c/0 5", "d/0 4", "e/0 3"}, want: "1:c+d+e 2:a+b"},
		"waiting":                   {change: decides, now: 13 * time.Hour, blocks: []string{"a/1 100 waiting=1", "b/1 50"}},
		"in the window":             {change: decides, blocks: []string{"a/1 59 rows=2500", "b/1 58 rows=2500"}},
		"out of it":                 {change: decides, blocks: []string{"a/1 61 rows=2500", "b/1 60 rows=2500"}, want: "2:a+b"},
		"much to write out":         {change: decides, blocks: []string{"a/1 120 hidden=1"}, want: "2:a"},
		"not so soon":               {change: decides, blocks: []string{"a/1 119 hidden=1"}},
		"nothing hidden":            {change: decides, blocks: []string{"a/1 500"}},
		"hidden, nobody decides":    {blocks: []string{"a/1 120 hidden=1"}},
		"level 0 within the hour":   {change: decides, blocks: []string{"a/0 5 waiting=1", "b/0 4 waiting=1", "c/0 3 waiting=1"}, want: "1:a+b+c"},
		"clocks that are all wrong": {blocks: []string{"a/0 900000", "b/0 900000", "c/0 900000"}, want: "1:a+b+c"},
	} {
		t.Run(name, func(t *testing.T) {
			l := limits
			if tc.change != nil {
				tc.change(&l)
			}
			blocks := parse(t, tc.blocks...)
			jobs := Plan(l, noon.Add(tc.now), blocks)
			require.Equal(t, tc.want, show(jobs))
			require.Equal(t, parse(t, tc.blocks...), blocks, "the input is left alone")
			seen := map[string]bool{}
			for _, j := range jobs {
				for _, id := range j.Inputs {
					require.False(t, seen[id], "no block twice")
					seen[id] = true
				}
			}
		})
	}
}
