// Package chart holds the Helm chart in manifests/helm to the objects of kustomize: rendered with the values of a variant it
// has to give what the variant's components give, field by field. It needs no cluster.
package chart
