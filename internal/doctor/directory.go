package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bramble-tracing/bramble/internal/selfcheck"
	"github.com/bramble-tracing/bramble/internal/volume"
)

const mib = 1 << 20

// Directory is one that the agent writes to.
type Directory struct {
	Path, From string
	// MaxMiB is how much it may come to hold, MinFree the share of the disk in percent below which the store refuses spans.
	// 0 means no limit.
	MaxMiB, MinFree int64
}

// space is what a file system has, in bytes and files.
type space struct {
	total, free, files, filesFree uint64
}

// directory looks at permissions and space, as the user that the doctor runs as.
func directory(dir Directory) job {
	return one("directory/"+dir.Path, func(_ context.Context, c *selfcheck.Check) {
		info, err := os.Stat(dir.Path)
		writeTo := dir.Path
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if writeTo = existing(dir.Path); writeTo != filepath.Dir(filepath.Clean(dir.Path)) {
				c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) does not exist, nor does the directory that it would be made in", dir.Path, dir.From)
				c.Fix = "mount the volume there, or name another directory"
				return
			}
		case err != nil:
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s): %v", dir.Path, dir.From, err)
			c.Fix = dir.permissions(nil)
			return
		case !info.IsDir():
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) is no directory", dir.Path, dir.From)
			c.Fix = "remove it, or name another directory"
			return
		}
		if err := tryWrite(writeTo); err != nil {
			c.State, c.Detail = selfcheck.Fail, fmt.Sprintf("%s (%s) cannot be written: %v", dir.Path, dir.From, err)
			c.Fix = dir.permissions(err)
			return
		}
		dir.space(writeTo, c)
		if writeTo != dir.Path && c.State == selfcheck.OK {
			c.Detail = "it does not exist and can be made; " + c.Detail
		}
		if kind, err := volume.Detect(writeTo); err == nil && kind.Lost() != "" && c.State == selfcheck.OK {
			c.State, c.Detail = selfcheck.Warn, c.Detail+"; "+kind.Lost()
			c.Fix = "put it on a volume that stays if traces are to outlive it: in Kubernetes manifests/components/hostpath"
		}
	})
}

// existing returns the nearest directory above that exists.
func existing(path string) string {
	for path = filepath.Clean(path); ; {
		up := filepath.Dir(path)
		if info, err := os.Stat(up); err == nil && info.IsDir() || up == path {
			return up
		}
		path = up
	}
}

// tryWrite makes a file with something in it, and removes it.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".bramble-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4<<10))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// permissions says what to do about a directory that cannot be used.
func (dir *Directory) permissions(err error) string {
	if isFull(err) {
		return fullAdvice
	}
	who := fmt.Sprintf("this process is uid %d, gid %d", os.Getuid(), os.Getgid())
	if owner := ownerOf(dir.Path); owner != "" {
		who += ", and the directory belongs to " + owner
	}
	return who + ": give it to the user that the agent runs as (chown, or `bramble prepare-directory`; in Kubernetes manifests/components/hostpath does that, since fsGroup does not apply to hostPath), and mount it writable"
}

const fullAdvice = "the disk is full: make room, lower retention::max_size_mib, or give the volume more"

// space judges how much room there is.
func (dir *Directory) space(path string, c *selfcheck.Check) {
	s, err := spaceOf(path)
	if err != nil {
		c.Detail = fmt.Sprintf("%s (%s) can be written; its space is not known: %v", dir.Path, dir.From, err)
		return
	}
	percent := int64(100)
	if s.total > 0 {
		percent = int64(float64(s.free) / float64(s.total) * 100)
	}
	c.Detail = fmt.Sprintf("%s (%s) can be written; %d MiB of %d are free (%d %%)", dir.Path, dir.From, s.free/mib, s.total/mib, percent)
	const fewFiles = 1000
	switch {
	case percent < dir.MinFree:
		c.State = selfcheck.Fail
		c.Detail += fmt.Sprintf(", fewer than retention::min_free_percentage (%d %%): the store deletes its oldest spans, and refuses new ones when that is not enough", dir.MinFree)
		c.Fix = fullAdvice
	case s.files > 0 && s.filesFree < fewFiles:
		c.State, c.Detail = selfcheck.Fail, c.Detail+fmt.Sprintf(", and only %d more files can be made", s.filesFree)
		c.Fix = "the file system has no inodes left: remove files, or make it with more"
	case dir.MaxMiB > 0 && s.total > 0 && uint64(dir.MaxMiB) > s.total/mib:
		c.State, c.Detail = selfcheck.Warn, c.Detail+fmt.Sprintf(", and retention::max_size_mib (%d) is more than the whole disk: min_free_percentage is what bounds the store", dir.MaxMiB)
		c.Fix = "lower retention::max_size_mib (BRAMBLE_MAX_SIZE_MIB) to what the volume can hold"
	}
}
