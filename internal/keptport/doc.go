// Package keptport owns listening sockets that outlive a configuration reload, and the HTTP connections on them.
//
// A Collector stops all components and starts new ones when its configuration changes. A component that closes its port
// and opens it again refuses connections in between, and an HTTP server that shuts down closes connections whose clients
// may be writing the next request at that moment. OTLP's HTTP exporters give up either kind of request. So:
//
//   - Listen gives a socket that stays open, as a turn: closing the turn ends Accept and leaves the socket. Until the next
//     turn, connections wait in the kernel's queue. It is for servers that can tell their clients to go elsewhere before
//     they close a connection, as gRPC can (GOAWAY).
//   - ServeGRPC serves gRPC that way.
//   - ServeHTTP does more: the server itself stays, with its connections, and only its handler changes. Requests that
//     arrive between two handlers wait for the next one.
//
// A port is found again by its transport and address, in procstate.Default, which decides for how long it stays without a
// user. One user at a time has it. When an address cannot be bound because a kept port without a user is in the way
// (localhost:4318 became 0.0.0.0:4318), that port is closed.
//
// Ports of the kernel's choice (":0") and listeners that cannot be interrupted are opened and closed as ever.
//
// Locks: port.mu guards who uses the port and what is served on it, gate.mu which handler has its turn. gate.mu is
// never held while a handler runs.
package keptport
