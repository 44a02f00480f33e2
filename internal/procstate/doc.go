// Package procstate is the one registry of things in this process that outlive a configuration reload.
//
// A Collector stops all components and builds new ones when its configuration changes. What must not be lost or
// reopened in between (an open trace store with its memory and its lock, counters that Prometheus watches) is held
// here: a component acquires it by key in Start and releases it in Shutdown; when the last user has released it, it
// stays for the grace period of the registry, so that the component's successor finds it as it was.
//
// The grace period is zero unless the main package sets one (SetGrace), so that tests and `validate` leave nothing
// behind; main calls CloseAll when the process ends.
//
// One lock per registry guards the table; opening and closing happen outside it, under the entry's own lock, so that
// a slow open of one key does not hold up others.
package procstate
