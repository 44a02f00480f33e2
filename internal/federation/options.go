package federation

import "google.golang.org/grpc"

// Bytes on their way to an agent that it has not read: of one answer, and of all from one agent. Windows whose sizes gRPC
// finds itself cost pings with every question, which wake each side once more. These are enough for 1 GB/s over a network
// with a round trip of 1 ms.
const (
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// ServerOptions are those of a server that answers other agents.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow)}
}

// DialOptions are those of a connection to another agent.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow)}
}
