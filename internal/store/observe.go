package store

// Observer is told of every batch that the store has accepted.
type Observer interface {
	// Accepted is called once for each batch whose Append returned nil, before it returns, possibly from several
	// goroutines at once. The batch must not be modified or kept. It must be quick: the client waits for it.
	Accepted(b *Batch)
}

// Notifier is a store that tells observers what it has accepted. Who counts spans (trace_metrics) observes the store
// rather than the pipeline, because a pipeline's fan-out calls every consumer whatever the others answer: a batch that
// the store refused and the client sent again would be counted twice.
type Notifier interface {
	// Observe adds an observer until the returned function is called, which waits for running calls of Accepted.
	Observe(o Observer) (cancel func())
}
