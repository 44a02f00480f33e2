// Package image builds the image with buildah and runs it with podman and runc as a strict cluster would: read-only root
// file system, no capabilities, not root, a memory limit. It needs root, buildah, podman, runc, nsenter and curl, and says so
// when it skips.
package image
