// Package liveconfig keeps a running Collector safe from edits of its configuration. It knows configurations as bytes of
// named sources and as maps; it neither parses nor runs them.
//
// # What it does
//
// A Guard reads every source (file, ConfigMap) through a provider (components/watchprovider), remembers the bytes that
// the service runs with (the pinned set), and looks at the sources again at an interval. Bytes that differ and have
// settled are a candidate. A Checker judges it, normally in a child process of the same program; only an accepted candidate
// is pinned, and only then is the Collector told to reload. Whatever the Collector reads meanwhile, for instance after a
// SIGHUP, is the pinned set: a file that is bad or half written is never seen by it.
//
// # Roll back
//
// The set that ran before stays the good one until the new one has proved itself. If the service does not start with the
// new set, or if within the probation (10 s) a component fails for good or the process is not ready, the good set is
// pinned again and the hash of the other is remembered: it is not tried again until the sources change.
//
// The good set is also kept on disk beside the store. When the sources are bad at boot, the process starts with that copy.
//
// # Runs
//
// A Collector that fails to reload ends its Run without shutting its providers down. So the main package calls Begin before
// and End after each run, and what providers of an earlier run registered is ignored.
//
// # Locks
//
// Guard.mu guards all state. It is not held while sources are read, a candidate is checked or a callback runs. One
// goroutine (Guard.loop) looks at the sources and judges; Close ends and awaits it.
package liveconfig
