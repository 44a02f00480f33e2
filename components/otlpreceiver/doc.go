// Package otlpreceiver is the Collector's otlp receiver on ports that stay open while the configuration is reloaded. Type,
// configuration, metrics and answers are the Collector's; its own receiver closes its ports and connections at each reload,
// which makes OTLP exporters over HTTP give up what they send at that moment.
//
// Over HTTP the server and its connections stay and only the handler changes (keptport.ServeHTTP): no client sees a reload
// but as an answer that takes longer. A request that has begun is finished by the old pipelines; one whose body does not
// arrive within a second is answered 503 with Retry-After.
//
// Over gRPC the server is a new one, because its interceptors and telemetry cannot be changed: clients are told by GOAWAY
// to open another connection, calls that have begun are finished, and the new connection waits in the kernel's queue
// until the next server takes it (keptport.ServeGRPC).
//
// One receiver serves all signals of a configuration. It is started and stopped with the first of them.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package otlpreceiver
