package store

import (
	"context"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// Decision is what was decided about a trace when it left the recent window.
type Decision struct {
	// Keep says that the trace goes on to the end of max_age; otherwise it ends with the window.
	Keep bool
	// Policy is the name of the policy that decided, empty if none did.
	Policy string
}

// Undecided is a set of traces that leave the recent window. Everything in it belongs to the caller of Decide and is
// valid until Decide returns.
type Undecided struct {
	// View holds everything that is stored now, so also fragments of the traces in other parts than those that leave.
	// Traces of View.Split have rows in several parts of View, the others in one of Parts only.
	View View
	// Parts are the parts of View that leave the window.
	Parts []Part
	// Traces are the traces to decide, in ascending order, each once. Each has rows in one of Parts at least. Parts may
	// have further traces, which are decided already.
	Traces []spanid.TraceID
}

// Decider decides which traces outlive the recent window.
type Decider interface {
	// Decide returns a decision for each of u.Traces, in their order. It must depend on the stored spans of the traces and
	// on nothing else, so that a decision that a crash undid comes out the same. On an error nothing is decided, the
	// traces stay and are asked about again later.
	Decide(ctx context.Context, u *Undecided) ([]Decision, error)
}

// Retainer is a store whose retention can be steered by trace.
type Retainer interface {
	// SetDecider registers d until cancel is called, which waits for a running Decide. Without a decider everything is
	// kept. It is refused while another one is registered.
	SetDecider(d Decider) (cancel func(), err error)
	// Decision returns what was decided about a trace; ok is false if nothing was.
	Decision(ctx context.Context, id spanid.TraceID) (d Decision, ok bool, err error)
	// Pin keeps the traces beyond the window whatever is decided about them, as far as the store's limit for pins allows.
	// Traces that are not stored are ignored. It is durable when it returns nil.
	Pin(ctx context.Context, ids []spanid.TraceID) error
}

// Deciding is a store that tells whether a decider is registered now, so whether some of its traces may end with the
// recent window.
type Deciding interface {
	Deciding() bool
}

// Names of intrinsic columns that hold what was decided. They are ours, prefixed so that they cannot clash with a later
// version of TraceQL. Absent while nothing was decided. They are not among Intrinsics: a store without a Retainer
// need not have them.
const (
	TraceDecision = "trace:brambleDecision" // string, "kept" or "dropped"
	TracePolicy   = "trace:bramblePolicy"   // string, the policy's name; absent also if no policy decided
)
