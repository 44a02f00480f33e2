package liveconfig

import (
	"time"

	"go.uber.org/zap"
)

// Defaults of Options.
const (
	DefaultInterval  = 500 * time.Millisecond
	DefaultSettle    = 250 * time.Millisecond
	DefaultProbation = 10 * time.Second
	DefaultStartup   = 3 * time.Second
	DefaultRetries   = 5
)

// Options configures a Guard. Every zero value means the default that its comment names.
type Options struct {
	// Checker judges candidates. Without one every candidate that can be read is accepted.
	Checker Checker
	// Interval is the time between looks at the sources (500 ms).
	Interval time.Duration
	// Settle is how long the sources must not change before they are judged (250 ms).
	Settle time.Duration
	// Probation is how long a new configuration must run without trouble to become the good one (10 s).
	Probation time.Duration
	// Startup is when a service counts as started that has no extension to say so (3 s).
	Startup time.Duration
	// Retries is how often a good configuration that does not start is tried again, with growing pauses (5).
	Retries int
	// Directories are where a kept copy may lie when the configuration at boot is bad.
	Directories []string
	// OnRecord is called with each line of the history, one at a time, while the guard
	// is locked: it must not block or call the guard. May be nil.
	OnRecord func(Record)
	// Logger is used until SetLogger gives another one. May be nil.
	Logger *zap.Logger
}

func (o *Options) setDefaults() {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Interval, DefaultInterval)
	def(&o.Settle, DefaultSettle)
	def(&o.Probation, DefaultProbation)
	def(&o.Startup, DefaultStartup)
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}
