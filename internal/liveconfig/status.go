package liveconfig

import "time"

// Outcome is what became of a candidate.
type Outcome string

// The outcomes.
const (
	Booted     Outcome = "booted"      // the configuration of the start
	BootedLast Outcome = "booted_last" // the start's configuration was bad: the kept copy runs
	Applied    Outcome = "applied"
	Rejected   Outcome = "rejected"    // it did not pass the check
	RolledBack Outcome = "rolled_back" // it passed, and failed when it ran
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{Booted, BootedLast, Applied, Rejected, RolledBack}

// Record is one line of the history.
type Record struct {
	Time    time.Time `json:"time"`
	Hash    string    `json:"hash"`
	Outcome Outcome   `json:"outcome"`
	// Reason says why it was rejected or rolled back.
	Reason string `json:"reason,omitempty"`
	// Skipped says which part of the check was left out.
	Skipped string `json:"skipped,omitempty"`
	// Changes is how it differs from what ran before.
	Changes []Change `json:"changes,omitempty"`
	// Took is from the edit being seen to the verdict.
	Took time.Duration `json:"took_ns,omitempty"`
}

// Status is a copy of what the guard knows.
type Status struct {
	// Hash is that of the running set.
	Hash string
	// Sources are the keys of the running set.
	Sources []string
	// Effective is the running configuration with secrets hidden; nil if nobody told it.
	Effective map[string]any
	// OK is false while the sources hold something that was rejected or rolled back, or could not be read.
	OK bool
	// Since is when the running set was applied.
	Since time.Time
	// Probation says that the running set may still be rolled back.
	Probation bool
	// Counts of outcomes since the start.
	Counts map[Outcome]int64
	// History has the last outcomes, newest last.
	History []Record
}

// historyLength is how many outcomes are remembered.
const historyLength = 128
