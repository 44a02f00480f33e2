// Package rendered makes the objects that users apply, from manifests/: by kustomize's library and by Helm's, without a
// cluster and without programs beside the test.
package rendered
