// Package kubecheck knows what a configuration needs of Kubernetes and asks the API server whether this process has it:
// the rights, one by one (SelfSubjectAccessReview, so that nothing is tried out), the node's name, and the API server
// itself. The answers are checks with what to do (internal/selfcheck). It is used by the kubernetes_check extension in a
// running agent and by `bramble doctor`.
//
// What is needed is computed from the configuration (PlanOf), without any network. The list follows what the components
// really do: informers list and watch, and nobody asks for ReplicaSets unless the configuration has something that only
// they know. What is nice to have (events about configurations) is Optional and never a failure.
package kubecheck
