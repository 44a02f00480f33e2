// Package volume tells what kind of storage a directory is on, as far as the kernel says it: the mount table
// (/proc/self/mountinfo, see proc_pid_mountinfo(5)). An emptyDir of Kubernetes is known by the path that the kubelet gives
// it, a container's own file system by being an overlay at the root. Nothing is asked of Kubernetes.
//
// Where the mount table does not show it (a runtime with its own kernel, such as gVisor or Kata), the kind is Unknown, and
// whoever runs the agent may say it by the environment variable BRAMBLE_DATA_VOLUME.
package volume
