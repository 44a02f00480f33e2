// Package peerpb holds the messages and the gRPC service with which agents ask each other.
//
// The files *.pb.go are generated from peer.proto and lines.proto by the program in tools/protogen.
//
//	go generate ./internal/federation/peerpb
//
//go:generate go run -C ../../../tools/protogen . ../../internal/federation/peerpb peer.proto
//go:generate go run -C ../../../tools/protogen . ../../internal/federation/peerpb lines.proto
package peerpb
