// Package fsx is the file system as the storage engine sees it: a small interface, so that the same code runs on the
// operating system's files and in simulations of crashes and of broken disks.
//
// Three implementations:
//
//   - OS: the real one.
//   - Mem: in memory. It keeps apart what is in the page cache and what is on the disk: written data becomes durable
//     with File.Sync, a created, renamed or removed name with FS.SyncDir of its directory, and Mem.CrashClone makes
//     the file system that a machine could find after a power cut at this moment.
//   - Faulty: wraps another one and makes chosen calls fail, with short writes if wanted.
//
// Rules that hold for all of them, and that the conformance test checks:
//
//   - Write appends to the end of the file, wherever that is after a Truncate. There are no writes in the middle.
//   - Errors about a path are *fs.PathError or *os.LinkError, so errors.Is with fs.ErrNotExist, fs.ErrExist and
//     syscall.ENOSPC works.
//   - Paths are those of package path/filepath. A relative path is relative to the working directory (OS) or the root
//     (Mem).
//
// An FS is safe for concurrent use. A File is too, except that Read, which moves a position, and Write may not run
// beside each other. Mem has one lock for everything, Faulty one for its list of faults.
package fsx
