// Package manifests builds every overlay and component below manifests/ with `kubectl kustomize` and decodes what comes out
// strictly into the API's types: an unknown or misplaced field is an error, as it is for an API server. It then checks
// what the objects promise: no more rights than needed, a hardened container, ports that the configuration opens, a
// configuration that the binary takes.
package manifests
