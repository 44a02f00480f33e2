package tracequeryextension

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bramble-tracing/bramble/internal/webmount"
)

// reserved are the prefixes that the extension serves itself.
var reserved = []string{"/api", "/ready", "/metrics", "/status", "/debug"}

// statusPrefix is the reserved prefix below which other components may mount pages about themselves, under names that
// are not in statusPages.
const statusPrefix = "/status"

// statusPages are the extension's own pages below statusPrefix (H-04).
var statusPages = []string{"version", "services", "peers", "checks", "endpoints", "config", "runtime_config", "overrides", "usage-stats"}

// extensionsPrefix is the reserved prefix below which other components may mount their part of the API. Tempo has
// nothing there.
const extensionsPrefix = "/api/bramble"

// mounts is the table of pages of other components. The zero value is empty.
type mounts struct {
	table atomic.Pointer[[]*mounted]
	mu    sync.Mutex // Held to replace table.
}

// mounted is a mount with its requests in progress. Requests hold the lock for reading.
type mounted struct {
	webmount.Mount
	mu   sync.RWMutex
	gone bool
}

// Mount implements webmount.Mounter.
func (m *mounts) Mount(mount webmount.Mount) (unmount func(), err error) {
	if err := checkMount(mount); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.load()
	for _, o := range old {
		if o.Prefix == mount.Prefix {
			return nil, fmt.Errorf("mount %s: the path is taken by %q", mount.Prefix, o.Title)
		}
	}
	entry := &mounted{Mount: mount}
	table := append(slices.Clone(old), entry)
	slices.SortFunc(table, func(a, b *mounted) int { return strings.Compare(a.Prefix, b.Prefix) })
	m.table.Store(&table)
	return func() { m.unmount(entry) }, nil
}

func checkMount(mount webmount.Mount) error {
	p := mount.Prefix
	switch {
	case mount.Handler == nil:
		return fmt.Errorf("mount %s: there is no handler", p)
	case !strings.HasPrefix(p, "/"), p != "/" && strings.HasSuffix(p, "/"), strings.Contains(p, "//"):
		return fmt.Errorf("mount %q: a prefix begins with a slash and does not end with one", p)
	}
	if name, ok := strings.CutPrefix(p, statusPrefix+"/"); ok {
		first, _, _ := strings.Cut(name, "/")
		if slices.Contains(statusPages, first) {
			return fmt.Errorf("mount %s: %s/%s is reserved for the API", p, statusPrefix, first)
		}
		return nil
	}
	if below(p, extensionsPrefix) && p != extensionsPrefix {
		return nil
	}
	for _, r := range reserved {
		if below(p, r) {
			return fmt.Errorf("mount %s: %s is reserved for the API", p, r)
		}
	}
	return nil
}

func (m *mounts) unmount(entry *mounted) {
	m.mu.Lock()
	table := slices.DeleteFunc(slices.Clone(m.load()), func(o *mounted) bool { return o == entry })
	m.table.Store(&table)
	m.mu.Unlock()
	entry.mu.Lock()
	defer entry.mu.Unlock()
	entry.gone = true
}

func (m *mounts) load() []*mounted {
	if t := m.table.Load(); t != nil {
		return *t
	}
	return nil
}

// Mounts implements webmount.Mounter.
func (m *mounts) Mounts() []webmount.Mount {
	table := m.load()
	out := make([]webmount.Mount, len(table))
	for i, e := range table {
		out[i] = e.Mount
	}
	return out
}

// find returns the mount with the longest prefix of path, or nil.
func (m *mounts) find(path string) *mounted {
	var best *mounted
	for _, e := range m.load() {
		if below(path, e.Prefix) && (best == nil || len(e.Prefix) > len(best.Prefix)) {
			best = e
		}
	}
	return best
}

// ServeHTTP calls the mount's handler unless it has been unmounted meanwhile.
func (e *mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.gone {
		http.NotFound(w, r)
		return
	}
	e.Handler.ServeHTTP(w, r)
}

// below reports whether path is prefix or a path under it.
func below(path, prefix string) bool {
	if prefix == "/" {
		return strings.HasPrefix(path, "/")
	}
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
