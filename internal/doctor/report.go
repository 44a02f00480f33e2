package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
)

// Exit codes of the command.
const (
	ExitOK     = 0 // nothing fails; there may be warnings
	ExitFailed = 1 // a check fails
	ExitUsage  = 2 // the command line is wrong
)

// Report is the outcome of a run as JSON.
type Report struct {
	OK     bool              `json:"ok"`
	Counts map[string]int    `json:"counts"`
	Checks []selfcheck.Check `json:"checks"`
}

// NewReport counts states.
func NewReport(checks []selfcheck.Check) Report {
	r := Report{Counts: map[string]int{}, Checks: checks, OK: selfcheck.Worst(checks) != selfcheck.Fail}
	for _, c := range checks {
		r.Counts[string(c.State)]++
	}
	return r
}

// Write prints the report: as lines with a sum at the end, or as JSON.
func (r *Report) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	selfcheck.Write(w, r.Checks)
	_, err := fmt.Fprintf(w, "\n%d ok, %d warnings, %d failures, %d skipped\n",
		r.Counts[string(selfcheck.OK)], r.Counts[string(selfcheck.Warn)], r.Counts[string(selfcheck.Fail)], r.Counts[string(selfcheck.Skipped)])
	return err
}
