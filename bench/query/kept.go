package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bramble-tracing/bramble/internal/spanid"
)

// knowledge is what must be known of stored spans to ask about them again.
type knowledge struct {
	Begin  time.Time // when they were sent
	Truth  *truth
	Traces []spanid.TraceID // one of each request
}

const knowledgeFile = "known.json"

// readKnown returns what was written beside the store in dir, nil if nothing was.
func readKnown(dir string) (*knowledge, error) {
	b, err := os.ReadFile(filepath.Join(dir, knowledgeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // Nothing is an answer.
	}
	if err != nil {
		return nil, err
	}
	k := &knowledge{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("read %s: %w", knowledgeFile, err)
	}
	return k, nil
}

func (k *knowledge) write(dir string) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, knowledgeFile), b, 0o600)
}
