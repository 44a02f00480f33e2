// Package configmapprovider is the confmap provider of the scheme `k8sconfigmap`. Its URIs are
//
//	k8sconfigmap:NAMESPACE/NAME/KEY?fallback=/path/to/the/mounted/file
//
// It reads one key of a ConfigMap through the API server and watches it, so that an edit is known in about a second and
// not after the kubelet's next sync, which may take more than a minute. It needs the rights get, list and watch on that one
// object. If the API server cannot be asked, the fallback is read, which is optional.
//
// In a process that guards its configuration (internal/liveconfig) the Collector is given accepted content only.
package configmapprovider
