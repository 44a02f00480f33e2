// Package watchprovider is the confmap provider of the scheme `file` that, in a process that guards its configuration
// (internal/liveconfig), gives the Collector the accepted bytes of a file and tells it to reload when new ones have been
// accepted. In any other process it reads files as the Collector's own provider does and does not watch.
//
// It accepts the same URIs: a path, or `file:` and a path, relative or absolute, in --config and in ${file:…}.
package watchprovider
