package liveconfig

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// cgroupHeadroom returns the bytes that the container may still use: its limit less what it uses and the kernel cannot
// take back at once. ok is false without a limit or where there are no cgroups.
func cgroupHeadroom() (left int64, ok bool) {
	limit, err := memlimit.FromCgroup()
	if err != nil || limit == 0 || limit > 1<<62 {
		return 0, false
	}
	used, ok := cgroupUsed("/sys/fs/cgroup", "/proc/self/cgroup")
	if !ok {
		return 0, false
	}
	return int64(limit) - used, true
}

// cgroupUsed reads the memory in use: of version 2 first, of version 1 otherwise.
func cgroupUsed(root, self string) (int64, bool) {
	b, err := os.ReadFile(self) //nolint:gosec // A file of the kernel.
	if err != nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			for _, dir := range []string{filepath.Join(root, parts[2]), root} {
				if used, ok := readUsed(dir, "memory.current", "inactive_file"); ok {
					return used, true
				}
			}
		case parts[1] == "memory":
			for _, dir := range []string{filepath.Join(root, "memory", parts[2]), filepath.Join(root, "memory")} {
				if used, ok := readUsed(dir, "memory.usage_in_bytes", "total_inactive_file"); ok {
					return used, true
				}
			}
		}
	}
	return 0, false
}

// readUsed returns a directory's usage without the page cache that can be dropped.
func readUsed(dir, usage, inactive string) (int64, bool) {
	b, err := os.ReadFile(filepath.Join(dir, usage)) //nolint:gosec // A file of the kernel.
	if err != nil {
		return 0, false
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat")) //nolint:gosec // A file of the kernel.
	if err != nil {
		return used, true
	}
	sc := bufio.NewScanner(bytes.NewReader(stat))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), inactive+" "); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				used -= n
			}
		}
	}
	return max(used, 0), true
}
