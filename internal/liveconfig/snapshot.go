package liveconfig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// MaxSourceBytes is the size of the largest source that is read. A ConfigMap holds at most 1 MiB.
const MaxSourceBytes = 2 << 20

// ErrSourceTooLarge says that a source is larger than MaxSourceBytes.
var ErrSourceTooLarge = errors.New("the configuration is too large")

// Source is a place that configuration is read from.
type Source interface {
	// Key names the source in the set: a clean path or a URI. It is stable.
	Key() string
	// Read returns the bytes that the source has now, at most MaxSourceBytes.
	Read(ctx context.Context) ([]byte, error)
}

// File is a file as a source. The path is read anew each time, so that a symbolic link that is swapped (as the kubelet
// does for ConfigMaps) and a file that is replaced by renaming (as editors do) are both seen.
type File string

// Key returns the absolute path.
func (f File) Key() string {
	if abs, err := filepath.Abs(string(f)); err == nil {
		return abs
	}
	return filepath.Clean(string(f))
}

// Read returns the file's content. The error names the path.
func (f File) Read(context.Context) ([]byte, error) {
	file, err := os.Open(filepath.Clean(string(f)))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	if fi, err := file.Stat(); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("read the configuration: %s is a directory", string(f))
	}
	b, err := io.ReadAll(io.LimitReader(file, MaxSourceBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", string(f), err)
	}
	if len(b) > MaxSourceBytes {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrSourceTooLarge, string(f), MaxSourceBytes)
	}
	return b, nil
}

// Set is the content of sources by their keys. It is not changed once it is made.
type Set map[string][]byte

// Hash identifies the set: SHA-256 over keys and contents, in hex.
func (s Set) Hash() string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%d %s %d ", len(k), k, len(s[k]))
		h.Write(s[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// HashBytes identifies the content of one source.
func HashBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
