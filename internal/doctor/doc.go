// Package doctor is `bramble doctor`: it looks at an installation from outside, as an application and Grafana do, and says
// what does not work and what to do. What it looks at (Targets) comes from the configuration, the environment and flags,
// in this order, the later ones winning.
//
// Checks of one stage run at the same time, each with its own timeout, and are reported in a fixed order: names, then
// everything that can be reached, then a trace that is sent and read back, then clocks. A check whose ground is missing
// (a name that does not resolve, a port that did not answer) is skipped with the reason, so that one mistake is one
// failure. Nothing but the test trace is written, and a file in data directories that is removed at once.
package doctor
