package configcheck

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// heldBy reports whether the process has a socket bound to the port of the address, on any of its hosts: the port is
// then free once that process has stopped its old components.
func heldBy(pid int, a address) bool {
	_, port, err := net.SplitHostPort(a.endpoint)
	if pid == 0 || err != nil {
		return false
	}
	n, err := net.LookupPort(transport(a.network), port)
	if err != nil {
		return false
	}
	inodes := boundInodes(transport(a.network), n)
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, l := range links {
		target, err := os.Readlink(l)
		if err != nil {
			continue // Closed meanwhile.
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok && slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
			return true
		}
	}
	return false
}

// boundInodes lists the sockets that are bound to a port: listening ones for TCP.
func boundInodes(transport string, port int) []string {
	var out []string
	for _, file := range []string{"/proc/net/" + transport, "/proc/net/" + transport + "6"} {
		b, err := os.ReadFile(file) //nolint:gosec // A file of the kernel.
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			const local, state, inode = 1, 3, 9
			f := strings.Fields(line)
			if len(f) <= inode || transport == "tcp" && f[state] != "0A" {
				continue
			}
			_, p, ok := strings.Cut(f[local], ":")
			if raw, err := hex.DecodeString(p); ok && err == nil && len(raw) == 2 && int(raw[0])<<8|int(raw[1]) == port {
				out = append(out, f[inode])
			}
		}
	}
	return out
}
