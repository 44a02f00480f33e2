// Package memlimit bounds memory by counting bytes before they are used. It owns nothing but the counts: whoever
// acquires bytes from a Budget says how many it is about to use and gives them back when they are garbage.
//
// Budgets form a tree: a share takes its bytes from its own limit and from that of its parent, so that several
// consumers can be promised more in sum than there is, and none can starve the others beyond its share.
//
// Waiting is first come, first served: a large request is not overtaken by small ones for ever. It ends with the
// caller's context. Force exists for corrections after the fact (the estimate was too low): it never waits and may
// take a budget above its limit, after which Acquire waits until the excess has been given back.
//
// Locks: each Budget has one mutex which guards its counts and its queue. A share never holds its own mutex while it
// calls its parent.
package memlimit
