package selfcheck

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bramble-tracing/bramble/internal/procstate"
)

// State is the outcome of a check.
type State string

// The states, from the best to the worst but for Skipped, which says that nothing was looked at.
const (
	OK      State = "ok"
	Skipped State = "skipped"
	Warn    State = "warn" // it works, not as one would expect
	Fail    State = "fail" // something that the configuration asks for does not work
)

// Check is one thing that was looked at.
type Check struct {
	// Name is made of lower-case words, digits, dots and hyphens in parts that are separated by slashes, from the general
	// to the particular: kubernetes/rights/pods. It is unique within what one source reports.
	Name  string `json:"name"`
	State State  `json:"state"`
	// Detail is what was seen, or why nothing was looked at; one line.
	Detail string `json:"detail,omitempty"`
	// Fix is what to do; empty unless there is something.
	Fix string `json:"fix,omitempty"`
	// Took is how long the check took.
	Took time.Duration `json:"took_ns,omitempty"`
}

// Worst returns the worst state of checks, and OK for none.
func Worst(checks []Check) State {
	worst := OK
	for _, c := range checks {
		if c.State == Fail || c.State == Warn && worst != Fail {
			worst = c.State
		}
	}
	return worst
}

// BoardKey is the key under which the process keeps its Board (internal/procstate).
const BoardKey = "selfcheck/board"

// Board holds the last report of each source. The zero value is ready to use, concurrently.
type Board struct {
	mu      sync.Mutex
	reports map[string]report
}

// report is what a source says. owner tells the source from its predecessor before a reload.
type report struct {
	owner  *Source
	checks func() []Check
}

// Source reports under one name.
type Source struct {
	board   *Board
	name    string
	release func() error
}

// Join gives access to the board of the process to who reports as name, a component's id.
func Join(name string) (*Source, error) {
	value, release, err := procstate.Default.Acquire(BoardKey, "", func() (procstate.Opened, error) {
		return procstate.Opened{Value: &Board{}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &Source{board: value.(*Board), name: name, release: release}, nil
}

// Report replaces what the source has said. The board keeps the slice.
func (s *Source) Report(checks ...Check) { s.ReportFunc(func() []Check { return checks }) }

// ReportFunc makes the board ask f, concurrently and until the source leaves or reports something else, or a moment longer.
// f returns at once.
func (s *Source) ReportFunc(f func() []Check) {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if s.board.reports == nil {
		s.board.reports = map[string]report{}
	}
	s.board.reports[s.name] = report{owner: s, checks: f}
}

// Board returns the board that the source reports to.
func (s *Source) Board() *Board { return s.board }

// Leave takes the source's report off the board, unless its successor has reported since. It may be called once, and on nil.
func (s *Source) Leave() error {
	if s == nil {
		return nil
	}
	s.board.mu.Lock()
	if s.board.reports[s.name].owner == s {
		delete(s.board.reports, s.name)
	}
	s.board.mu.Unlock()
	return s.release()
}

// Checks returns all checks, ordered by name.
func (b *Board) Checks() []Check {
	b.mu.Lock()
	reports := maps.Clone(b.reports)
	b.mu.Unlock()
	var out []Check
	for _, source := range slices.Sorted(maps.Keys(reports)) {
		out = append(out, reports[source].checks()...)
	}
	slices.SortStableFunc(out, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// State returns the state of the check with a name, and Skipped if nobody reports it.
func (b *Board) State(name string) State {
	for _, c := range b.Checks() {
		if c.Name == name {
			return c.State
		}
	}
	return Skipped
}
