package liveconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// KeptFile is the name of the kept copy in the store's directory. It may hold what the configuration holds, so only its
// owner may read it.
const KeptFile = "last-good-config.json"

const keptVersion = 1

// kept is the copy of a configuration that has proved itself.
type kept struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Set     Set       `json:"sources"`
}

var errNoKept = errors.New("there is no kept configuration")

// saveKept replaces the copy in dir, whole or not at all.
func saveKept(dir string, set Set) error {
	b, err := json.Marshal(kept{Version: keptVersion, Time: time.Now(), Set: set})
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	f, err := os.CreateTemp(dir, KeptFile+".*.tmp") // Mode 0600.
	if err != nil {
		return fmt.Errorf("keep the configuration: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, KeptFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the configuration: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// loadKept returns the newest copy in the directories that has all the sources that this process was told of, so that
// another process's copy is not taken.
func loadKept(dirs, keys []string) (kept, string, error) {
	var best kept
	var from string
	var errs []error
	for _, dir := range dirs {
		path := filepath.Join(dir, KeptFile)
		b, err := os.ReadFile(path) //nolint:gosec // The directory is the operator's.
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var k kept
		if err == nil {
			err = json.Unmarshal(b, &k)
		}
		if err == nil && (k.Version != keptVersion || len(k.Set) == 0) {
			err = fmt.Errorf("version %d with %d sources is unknown", k.Version, len(k.Set))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read the kept configuration %s: %w", path, err))
			continue
		}
		if k.has(keys) && k.Time.After(best.Time) {
			best, from = k, path
		}
	}
	if from == "" {
		return kept{}, "", errors.Join(append(errs, errNoKept)...)
	}
	return best, from, nil
}

func (k *kept) has(keys []string) bool {
	for _, key := range keys {
		if _, ok := k.Set[key]; ok {
			return true
		}
	}
	return false
}

// storeDirectory is the directory of the first trace_store extension of a configuration, or empty.
func storeDirectory(effective map[string]any) string {
	exts, _ := effective["extensions"].(map[string]any)
	for id, v := range exts {
		if id == "trace_store" || strings.HasPrefix(id, "trace_store/") {
			m, _ := v.(map[string]any)
			if dir, ok := m["directory"].(string); ok {
				return dir
			}
		}
	}
	return ""
}
