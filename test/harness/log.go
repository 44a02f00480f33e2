package harness

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Log is what a process wrote to standard output and standard error. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed and replaced when text grows
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

// Write appends p. It never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

// String returns everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// Lines returns the lines that contain all of the words.
func (l *Log) Lines(words ...string) []string {
	var found []string
next:
	for line := range strings.Lines(l.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, strings.TrimSuffix(line, "\n"))
	}
	return found
}

// widest is how much of a line Tail shows, in bytes.
const widest = 400

// Tail returns the last n lines, long ones cut.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		if len(line) > widest {
			lines[i] = line[:widest] + " …"
		}
	}
	return strings.Join(lines, "\n")
}

// WaitFor returns when the text contains part, or when ctx ends.
func (l *Log) WaitFor(ctx context.Context, part string) error {
	for {
		l.mu.Lock()
		found, changed := strings.Contains(string(l.text), part), l.changed
		l.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %q in the log: %w", part, ctx.Err())
		}
	}
}
