// Package kubernetescheckextension says what is missing in Kubernetes: rights without which k8s_attributes enriches nothing,
// and says so nowhere; a node's name that is empty or wrong; an API server that does not answer. What is needed is computed
// from the effective configuration (internal/kubecheck). What is found is in the log when it changes, on the board that
// the query port shows (internal/selfcheck), and in a metric.
//
// It never keeps the agent from starting or being ready. One goroutine, which is started when the configuration is told and
// ends before Shutdown returns, checks at once, again and again with growing pauses while something is wrong, and now and
// then when nothing is. Pauses are jittered: many agents start at the same time.
//
//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml
package kubernetescheckextension
