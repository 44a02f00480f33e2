package jaegerapi

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/bramble-tracing/bramble/internal/query"
	"github.com/bramble-tracing/bramble/internal/store"
)

// dependency is one edge of the service graph: how often spans of the child are direct children of the parent's.
type dependency struct {
	Parent    string `json:"parent"`
	Child     string `json:"child"`
	CallCount uint64 `json:"callCount"`
}

// maxCallers bounds how many services dependencies looks at: each is a query.
const maxCallers = 500

// dependencies lists calls between services in spans that started in the window, sorted by parent and child. It costs one
// structural metrics query for each service.
func (a *API) dependencies(ctx context.Context, client string, start, end time.Time) ([]dependency, error) {
	if err := a.checkWindow(start, end); err != nil {
		return nil, err
	}
	from, to := uint64(start.UnixNano()), uint64(end.UnixNano())
	parents, err := a.service.TagValues(ctx, query.TagValuesRequest{
		Name: "resource.service.name", StartNano: from, EndNano: to, Limit: maxCallers + 1, Client: client,
	})
	if err != nil {
		return nil, err
	}
	if len(parents.Values) > maxCallers {
		return nil, query.Invalidf("there are more than %d services in the time range: ask for a shorter one", maxCallers)
	}
	out := []dependency{}
	for _, parent := range texts(parents) {
		name := strconv.Quote(parent)
		res, err := a.service.Metrics(ctx, query.MetricsRequest{
			Query: fmt.Sprintf("{ resource.service.name = %s } > { resource.service.name != %s && resource.service.name != nil }"+
				" | count_over_time() by (resource.service.name)", name, name),
			StartNano: from, EndNano: to, Instant: true, Client: client,
		})
		if err != nil {
			return nil, err
		}
		for _, series := range res.Series {
			if len(series.Samples) == 0 || len(series.Labels) == 0 || series.Samples[0].Value <= 0 {
				continue
			}
			child := series.Labels[0].Value
			if child.Type != store.TypeString || child.Str == "" { // No name of a service.
				continue
			}
			out = append(out, dependency{Parent: parent, Child: child.Str, CallCount: uint64(series.Samples[0].Value)})
		}
	}
	return out, nil
}
