// Package plane runs a control plane of Kubernetes for tests: etcd, kube-apiserver with RBAC, PodSecurity and an audit log, and
// kube-controller-manager, all from build/controlplane, which `make build-kube` makes. There are no kubelets: nodes and the
// status of pods are what a test writes.
package plane
