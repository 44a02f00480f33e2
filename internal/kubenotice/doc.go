// Package kubenotice tells Kubernetes what became of a configuration: an Event on the agent's pod, and an annotation with
// the last verdict, so that `kubectl describe pod` and `kubectl get events` show a refused edit where people look. Both
// need rights that the agent may not have; without them it says so once and goes on.
package kubenotice
