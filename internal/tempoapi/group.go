package tempoapi

import "github.com/bramble-tracing/bramble/internal/store"

// resourceGroup is the spans of one resource, by scope, in the order in which they first occur.
type resourceGroup struct {
	resource int32
	scopes   []scopeGroup
}

// scopeGroup is the spans of one scope, as indexes into Batch.Spans.
type scopeGroup struct {
	scope int32
	spans []int
}

// group arranges the spans of b as OTLP has them.
func group(b *store.Batch) []resourceGroup {
	var out []resourceGroup
	resources := make(map[int32]int)
	type pair struct{ resource, scope int32 }
	scopes := make(map[pair]int)
	for i := range b.Spans {
		s := &b.Spans[i]
		ri, ok := resources[s.Resource]
		if !ok {
			ri = len(out)
			resources[s.Resource] = ri
			out = append(out, resourceGroup{resource: s.Resource})
		}
		r := &out[ri]
		si, ok := scopes[pair{s.Resource, s.Scope}]
		if !ok {
			si = len(r.scopes)
			scopes[pair{s.Resource, s.Scope}] = si
			r.scopes = append(r.scopes, scopeGroup{scope: s.Scope})
		}
		r.scopes[si].spans = append(r.scopes[si].spans, i)
	}
	return out
}

// unknownService stands in for the name of a resource that has no attributes at all.
const unknownService = "unknown_service"

// nameResources returns b with a service.name on resources without attributes, whose spans Grafana would drop (T-07).
// b itself is not changed.
func nameResources(b *store.Batch) *store.Batch {
	var named *store.Batch
	for i := range b.Resources {
		if len(b.Resources[i].Attrs) > 0 {
			continue
		}
		if named == nil {
			c := *b
			c.Resources = append([]store.Resource(nil), b.Resources...)
			named = &c
		}
		named.Resources[i].Attrs = []store.Attr{{Key: "service.name", Value: store.String(unknownService)}}
	}
	if named == nil {
		return b
	}
	return named
}
