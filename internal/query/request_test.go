package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaultStep(t *testing.T) { // Contract 6.4, observed.
	for r, want := range map[time.Duration]time.Duration{
		30 * time.Second:   100 * time.Millisecond,
		time.Second:        50 * time.Millisecond,
		0:                  50 * time.Millisecond,
		time.Minute:        time.Second,
		5 * time.Minute:    time.Second,
		15 * time.Minute:   3 * time.Second,
		time.Hour:          15 * time.Second,
		6 * time.Hour:      time.Minute,
		24 * time.Hour:     5 * time.Minute,
		7 * 24 * time.Hour: 40 * time.Minute,
	} {
		require.Equal(t, want, DefaultStep(r), r)
	}
}
