// Package live runs the binary and applies what manifests/ has against a real control plane: what admission says of the
// objects, what RBAC allows, what k8s_attributes finds, what the audit log shows.
package live
