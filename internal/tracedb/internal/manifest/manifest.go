package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/bramble-tracing/bramble/internal/fsx"
	"github.com/bramble-tracing/bramble/internal/store"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/block"
	"github.com/bramble-tracing/bramble/internal/tracedb/internal/column"
)

// File is the name of the manifest in the data directory.
const File = "manifest.json"

// Version is the format that this package writes. It reads this one only.
const Version = 1

// ErrVersion: the manifest was written by a newer program.
var ErrVersion = errors.New("unknown version of the manifest")

// Manifest is the contents of manifest.json.
type Manifest struct {
	Version int `json:"version"`
	// Sequence counts the manifests of the directory, from 1.
	Sequence uint64 `json:"sequence,string"`
	// WALMark is the number of the newest log record of which everything is in blocks or gone for good, as of all
	// before it. A replay begins behind it, and no later record gets a number up to it.
	WALMark uint64 `json:"wal_mark,string"`
	// Blocks are the live blocks, oldest first.
	Blocks []Block `json:"blocks"`
	// Decisions is a file below decisions/ with what was decided about traces that are in no block any more.
	Decisions *block.OverlayRef `json:"decisions,omitempty"`
}

// Block is a live block.
type Block struct {
	ID    string `json:"id"`
	Level int    `json:"level"`
	// Retained says that the block left the recent window while nobody decided about traces: they are kept.
	Retained bool `json:"retained,omitempty"`
	// Overlay is the overlay in force, if there is one.
	Overlay *block.OverlayRef `json:"overlay,omitempty"`
}

// head begins the file; the digits are the CRC32C of everything behind the line.
const head = "{\"crc32c\":\"%08x\",\n"

var headLen = len(fmt.Sprintf(head, 0))

// Encode returns the contents of the file.
func Encode(m *Manifest) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	body = append(body[1:], '\n') // The opening brace is in the head.
	return append(fmt.Appendf(nil, head, crc32.Checksum(body, column.Castagnoli)), body...), nil
}

// newer finds the version in a file that may be damaged.
var newer = regexp.MustCompile(`"version":\s*([0-9]{1,9})\b`)

// Decode parses the contents of a manifest. name is for errors, which wrap ErrVersion or are *store.CorruptionError.
func Decode(b []byte, name string) (*Manifest, error) {
	if found := newer.FindSubmatch(b); found != nil {
		if v, err := strconv.Atoi(string(found[1])); err == nil && v > Version {
			return nil, fmt.Errorf("%s says version %d, this program reads %d: use the version that wrote it: %w",
				name, v, Version, ErrVersion)
		}
	}
	m, err := decode(b)
	if err != nil {
		return nil, &store.CorruptionError{Path: name, Err: err}
	}
	return m, nil
}

func decode(b []byte) (*Manifest, error) {
	if len(b) < headLen || !bytes.HasPrefix(b, []byte(head[:11])) {
		return nil, errors.New("it is not a manifest")
	}
	body := b[headLen:]
	if want := fmt.Sprintf(head, crc32.Checksum(body, column.Castagnoli)); string(b[:headLen]) != want {
		return nil, errors.New("its checksum is wrong")
	}
	m := &Manifest{}
	if err := json.Unmarshal(append([]byte{'{'}, body...), m); err != nil {
		return nil, fmt.Errorf("parse it: %w", err)
	}
	if m.Version != Version {
		return nil, fmt.Errorf("version %d has never been", m.Version)
	}
	seen := make(map[string]bool, len(m.Blocks))
	for _, e := range m.Blocks {
		if !ValidID(e.ID) || seen[e.ID] {
			return nil, fmt.Errorf("%q is no block id, or is there twice", e.ID)
		}
		if e.Overlay != nil && (filepath.Base(e.Overlay.Name) != e.Overlay.Name || e.Overlay.Size < 0) {
			return nil, fmt.Errorf("overlay %q of block %s cannot be", e.Overlay.Name, e.ID)
		}
		seen[e.ID] = true
	}
	if d := m.Decisions; d != nil && (filepath.Base(d.Name) != d.Name || d.Size < 0) {
		return nil, fmt.Errorf("decisions %q cannot be", d.Name)
	}
	return m, nil
}

// ValidID reports whether a name can be that of a block's directory.
func ValidID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Load reads the manifest of a data directory. The error wraps fs.ErrNotExist if there is none.
func Load(fsys fsx.FS, dir string) (*Manifest, error) {
	path := filepath.Join(dir, File)
	b, err := fsx.ReadFile(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return Decode(b, path)
}

// Save replaces the manifest of a data directory, durably. See the package comment for when it fails.
func Save(fsys fsx.FS, dir string, m *Manifest) error {
	b, err := Encode(m)
	if err != nil {
		return err
	}
	return fsx.WriteFileAtomic(fsys, filepath.Join(dir, File), b)
}
