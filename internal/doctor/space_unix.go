//go:build unix

package doctor

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// spaceOf asks what unprivileged users may still use.
func spaceOf(path string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return space{}, err
	}
	block := uint64(s.Bsize) //nolint:unconvert // Its type differs between systems.
	return space{total: uint64(s.Blocks) * block, free: uint64(s.Bavail) * block, files: uint64(s.Files), filesFree: uint64(s.Ffree)}, nil
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ownerOf writes whose a directory is and what they may.
func ownerOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d with the mode %04o", s.Uid, s.Gid, info.Mode().Perm())
	}
	return ""
}
