package tempoapi

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// streamClient is clientOf for gRPC.
func streamClient(s grpc.ServerStream) string {
	host := ""
	if p, ok := peer.FromContext(s.Context()); ok && p.Addr != nil {
		host = p.Addr.String()
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	md, _ := metadata.FromIncomingContext(s.Context())
	return clientKey(host, first(md.Get("x-scope-orgid")), first(md.Get("x-grafana-user")))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// contexter is a request of either protocol.
type contexter interface{ Context() context.Context }
