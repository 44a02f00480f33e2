// Package kubernetescheckprocessor counts spans that k8s_attributes has added nothing to, which otherwise nobody notices: it
// stands behind k8s_attributes in a pipeline and changes nothing. What it has found is in a metric by reason, on the board
// that the query port shows (internal/selfcheck), and in the log, seldom.
//
// The reason is what can be seen from here: what the resource says of its pod, where the connection comes from, and what the
// kubernetes_check extension has found. It is a guess where a right answer would need the API server; README.md says which.
//
// Counts are atomic and belong to the process (internal/procstate), by the processor's id, so that they outlive reloads.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package kubernetescheckprocessor
