// Package peerpb holds the messages and the gRPC service with which agents ask each other.
//
// peer.pb.go and peer_grpc.pb.go are generated from peer.proto by the program in tools/protogen.
//
//	go generate ./internal/federation/peerpb
//
//go:generate go run -C ../../../tools/protogen . ../../internal/federation/peerpb peer.proto
package peerpb
