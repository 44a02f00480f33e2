// Package selfcheck is the form in which parts of this process say whether what they need is there: a check has a name, a
// state, what was seen and what to do. `bramble doctor` prints them, and in a running agent they are collected on a Board
// that the query port shows (/ready?verbose, /status/checks).
//
// A check never decides whether the agent is ready: it says what users would otherwise miss in silence. The Board belongs to
// the process (internal/procstate, BoardKey), so that who reports and who shows need not know each other. One lock guards
// it; nothing is called while it is held.
package selfcheck
