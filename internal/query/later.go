package query

import (
	"context"
	"fmt"

	"github.com/bramble-tracing/bramble/internal/store"
)

// TagNames lists attributes.
func (s *Service) TagNames(context.Context, TagNamesRequest) (*TagNamesResult, error) {
	return nil, fmt.Errorf("listing attributes is not there yet in this version of Bramble: %w", store.ErrUnsupported)
}

// TagValues lists values of an attribute.
func (s *Service) TagValues(context.Context, TagValuesRequest) (*TagValuesResult, error) {
	return nil, fmt.Errorf("listing values is not there yet in this version of Bramble: %w", store.ErrUnsupported)
}
