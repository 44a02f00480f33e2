package exthost

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
)

// Errors of Find, to be tested with errors.Is.
var (
	// ErrNotFound: no extension with this id is part of the running service.
	ErrNotFound = errors.New("extension not found")
	// ErrWrongKind: the extension exists but cannot do what is asked of it.
	ErrWrongKind = errors.New("extension of the wrong kind")
)

// Find returns the extension id as a T, the interface that the caller needs (store.Appender, webmount.Mounter, ...).
// The error wraps ErrNotFound or ErrWrongKind and says what to add to the configuration. It must be called in Start:
// before, the host has no extensions.
func Find[T any](host component.Host, id component.ID) (T, error) {
	var none T
	if host == nil {
		return none, fmt.Errorf("look up extension %q: the component was started without a host: %w", id, ErrNotFound)
	}
	extensions := host.GetExtensions()
	ext, ok := extensions[id]
	if !ok {
		return none, fmt.Errorf("look up extension %q: %w: add %q to the section `extensions:` and to the list `service: extensions:` of the configuration (%s)",
			id, ErrNotFound, id, running(extensions))
	}
	found, ok := ext.(T)
	if !ok {
		return none, fmt.Errorf("look up extension %q: %w: an extension of type %q cannot be used here, name one that is a %s (%s)",
			id, ErrWrongKind, id.Type(), wanted[T](), running(extensions))
	}
	return found, nil
}

// wanted is the name of the interface T, such as store.Store.
func wanted[T any]() string { return strings.TrimPrefix(fmt.Sprintf("%T", (*T)(nil)), "*") }

// running lists the extensions that are there, so that a misspelt name is seen at once.
func running(extensions map[component.ID]component.Component) string {
	if len(extensions) == 0 {
		return "no extension is enabled"
	}
	names := make([]string, 0, len(extensions))
	for id := range extensions {
		names = append(names, id.String())
	}
	slices.Sort(names)
	return "enabled now: " + strings.Join(names, ", ")
}
