package tempoapi

import (
	"context"
	"net"
	"net/http"
	"strings"

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

// Where an answer that is not complete says so if its message has no field for it: a header in HTTP, a trailer in gRPC.
const (
	headerPartial  = "Bramble-Partial"
	trailerPartial = "bramble-partial"
)

func notePartial(w http.ResponseWriter, why string) {
	if why != "" {
		w.Header().Set(headerPartial, oneLine(why))
	}
}

func tellPartial(s grpc.ServerStream, why string) {
	if why != "" {
		s.SetTrailer(metadata.Pairs(trailerPartial, oneLine(why)))
	}
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}
