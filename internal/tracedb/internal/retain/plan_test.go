package retain

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlan(t *testing.T) {
	now := time.Unix(1e9, 0)
	item := func(id string, age time.Duration, bytes int64) Item {
		return Item{ID: id, Newest: now.Add(-age), Bytes: bytes}
	}
	blocks := []Item{item("new", time.Hour, 10), item("old", 9*time.Hour, 30), item("middle", 5*time.Hour, 20)}
	heads := []Item{item("h1", 3*time.Hour, 5), item("h2", time.Minute, 5)}
	late := []Item{item("h1", time.Minute, 5), item("h2", 8*time.Hour, 5)}
	for name, tc := range map[string]struct {
		limits Limits
		state  State
		want   string
	}{
		"no limits":              {Limits{}, State{Blocks: blocks, Heads: heads, Used: 1 << 60}, ""},
		"nothing there":          {Limits{MaxAge: 1, MaxBytes: 1}, State{Used: 100, Missing: 100}, ""},
		"young enough":           {Limits{MaxAge: 10 * time.Hour}, State{Blocks: blocks, Heads: heads}, ""},
		"at the limit":           {Limits{MaxAge: 9 * time.Hour}, State{Blocks: blocks}, "old/0"},
		"age":                    {Limits{MaxAge: 2 * time.Hour}, State{Blocks: blocks, Heads: heads}, "old/0 middle/0 h1/0"},
		"heads only in order":    {Limits{MaxAge: 2 * time.Hour}, State{Heads: late}, ""},
		"size fits":              {Limits{MaxBytes: 70}, State{Blocks: blocks, Heads: heads, Used: 70}, ""},
		"size, one byte":         {Limits{MaxBytes: 69}, State{Blocks: blocks, Heads: heads, Used: 70}, "old/1"},
		"size, oldest first":     {Limits{MaxBytes: 39}, State{Blocks: blocks, Heads: heads, Used: 70}, "old/1 middle/1"},
		"size, everything":       {Limits{MaxBytes: 1}, State{Blocks: blocks, Heads: heads, Used: 1000}, "old/1 middle/1 new/1 h1/1 h2/1"},
		"disk":                   {Limits{}, State{Blocks: blocks, Heads: heads, Missing: 31}, "old/2 middle/2"},
		"disk, on its way":       {Limits{}, State{Blocks: blocks, Heads: heads, Missing: -5}, ""},
		"age frees for the size": {Limits{MaxAge: 6 * time.Hour, MaxBytes: 40}, State{Blocks: blocks, Heads: heads, Used: 70}, "old/0"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.state.Now = now
			var got []string
			for _, d := range Plan(tc.limits, tc.state) {
				require.Equal(t, strings.HasPrefix(d.ID, "h"), d.Head)
				got = append(got, d.ID+"/"+string('0'+rune(d.Reason)))
			}
			require.Equal(t, tc.want, strings.Join(got, " "))
		})
	}
	require.Equal(t, "new", blocks[0].ID, "the input is left alone")
}

func TestLeaving(t *testing.T) {
	now := time.Unix(1e9, 0)
	item := func(id string, age time.Duration, traces int) Item {
		return Item{ID: id, Newest: now.Add(-age), Traces: traces}
	}
	items := []Item{item("new", 59*time.Minute, 1), item("old", 3*time.Hour, 10), item("at", time.Hour, 5), item("older", 4*time.Hour, 10)}
	for name, tc := range map[string]struct {
		recent time.Duration
		max    int
		items  []Item
		want   string
	}{
		"nothing":       {time.Hour, 100, nil, ""},
		"oldest first":  {time.Hour, 100, items, "older old at"},
		"no window":     {0, 100, items, "older old at new"},
		"all are young": {5 * time.Hour, 100, items, ""},
		"so many":       {time.Hour, 20, items, "older old"},
		"at least one":  {time.Hour, 1, items, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, it := range Leaving(tc.recent, now, tc.max, tc.items) {
				got = append(got, it.ID)
			}
			require.Equal(t, tc.want, strings.Join(got, " "))
		})
	}
}
