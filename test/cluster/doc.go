// Package cluster tests several agents as separate processes on addresses of their own: any of them answers as one agent
// would that has all spans, with spans routed to their owners and with spans scattered at random, and no acknowledged span
// is lost when one of them is killed, paused, cut off, slow or started again under load.
package cluster
